"""Energy over HTTP: clients post consumption, and get kWh per quarter of an hour."""
