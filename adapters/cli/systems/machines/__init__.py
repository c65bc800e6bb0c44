"""`scaup machines`."""
