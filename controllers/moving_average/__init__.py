"""Averages over the last readings of each machine."""
