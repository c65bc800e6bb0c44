"""How long data is kept and where: policy, archive, compaction, maintenance."""
