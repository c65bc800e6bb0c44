"""Declared devices: the state of each declaration."""
