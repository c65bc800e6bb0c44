"""Simulated torque drivers with their operators and faults."""
