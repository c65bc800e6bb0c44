"""Machines: readings, averages and job status."""
