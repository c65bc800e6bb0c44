"""The checks of `scaup doctor`."""
