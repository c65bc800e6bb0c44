"""Simulated charging booths: chargers with their customers, and widgets; and interactive ones."""
