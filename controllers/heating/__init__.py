"""Heating: holds every room it hears from at its setpoint."""
