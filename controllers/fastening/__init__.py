"""Guided fastening: screw by screw, in order and in range, every result recorded."""
