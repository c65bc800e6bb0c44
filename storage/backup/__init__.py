"""Backups: what the database and the data directory hold, as files that never change, and the way back."""
