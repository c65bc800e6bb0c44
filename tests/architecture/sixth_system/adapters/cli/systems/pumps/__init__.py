"""Commands of the pumps."""
