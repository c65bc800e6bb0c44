"""Commands of the five systems, one folder each."""
