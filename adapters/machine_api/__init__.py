"""Machines over HTTP: the latest reading with its averages, and a way to set the job status."""
