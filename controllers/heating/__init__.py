"""Heating: holds every room with readings at its setpoint."""
