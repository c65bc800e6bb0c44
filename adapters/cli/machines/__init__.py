"""Machines on the command line: sources of readings, watching, plotting."""
