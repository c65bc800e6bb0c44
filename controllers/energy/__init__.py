"""Energy: any consumption data becomes kWh per quarter of an hour."""
