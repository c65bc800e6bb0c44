"""`scaup chargers`."""
