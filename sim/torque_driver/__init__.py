"""Simulated torque drivers: what an operator with an electric driver would do, and what can go wrong."""
