"""The runtime that hosts a component: event loop, clock, settings, credentials."""
