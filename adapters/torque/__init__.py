"""Torque drivers: their websockets on one side, the bus on the other, every message verbatim."""
