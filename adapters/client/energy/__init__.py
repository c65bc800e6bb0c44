"""Consumption data in files, as posts to the energy normalizer."""
