"""Simulated rooms: what radiators, walls, weather and sensors would do."""
