"""Heating: rooms, sensors, valves and setpoints."""
