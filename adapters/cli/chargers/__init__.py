"""Chargers on the command line: what is known of them now."""
