"""Charging: what widgets show, and the charging of each battery."""
