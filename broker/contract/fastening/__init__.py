"""Fastening: jobs, torque drivers, results and the catalog."""
