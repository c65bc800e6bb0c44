"""Chargers and widgets: websockets on one side, the bus on the other."""
