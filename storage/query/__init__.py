"""Read-only SQL for clients: the sandbox, its limits, turns and answers."""
