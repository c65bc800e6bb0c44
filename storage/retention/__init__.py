"""Retention of data: policy, archive, deletion, compaction, and the maintenance that runs them."""
