"""`scaup heating`."""
