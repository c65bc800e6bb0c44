"""The ledger: what was published against what is recorded (`scaup gaps`, `scaup verify`)."""
