"""Commands for every system, found by `adapters.cli.lazy`."""
