"""Torque adapter: websockets of torque drivers on one side, the bus on the other, every message verbatim."""
