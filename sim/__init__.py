"""Simulated devices: they send what the physical world would send."""
