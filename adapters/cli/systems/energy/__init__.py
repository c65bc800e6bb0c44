"""`scaup energy`."""
