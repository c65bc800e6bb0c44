"""Bus ↔ whatever is not our bus: the command line, later sockets and HTTP."""
