"""Devices that do not speak Scaup's topics, joined by declarations: foreign messages to streams, and back."""
