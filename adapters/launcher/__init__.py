"""Starts, supervises and checks a whole system, natively or in containers."""
