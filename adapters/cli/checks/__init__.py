"""What `scaup doctor` checks: each module gives findings about one thing."""
