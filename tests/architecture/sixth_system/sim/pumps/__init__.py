"""Simulated pumps."""
