"""Listeners beyond this machine: TLS, a login, and limits on clients that have not logged in."""
