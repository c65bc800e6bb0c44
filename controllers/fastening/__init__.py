"""Guided fastening: screw by screw, in order, in range, with proof."""
