"""Simulated ships."""
