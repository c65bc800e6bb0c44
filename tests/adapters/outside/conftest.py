"""Fixtures for listeners beyond this machine."""

from tests.adapters.outside.world import world

__all__ = ["world"]
