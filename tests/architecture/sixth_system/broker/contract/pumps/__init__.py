"""Pumps: the flow that each of them measures."""
