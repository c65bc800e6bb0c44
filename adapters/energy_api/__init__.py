"""Energy over HTTP: consumption is posted here, and answered as kWh per quarter of an hour."""
