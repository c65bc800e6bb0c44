"""Charging: chargers, widgets, their pairs and sessions."""
