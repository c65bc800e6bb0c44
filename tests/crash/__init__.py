"""The crash test: real processes, killed, frozen and starved of disk under load; lost and doubled messages are counted."""
