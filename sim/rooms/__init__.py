"""Simulated rooms with radiators, walls, weather and sensors."""
