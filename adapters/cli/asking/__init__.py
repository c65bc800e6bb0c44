"""Asking the recorder over the bus, or the file when no recorder runs, and following live messages."""
