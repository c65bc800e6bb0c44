"""The command line: `scaup`. It is also the composition root, the one place that knows every component."""
