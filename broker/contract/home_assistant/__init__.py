"""Home Assistant: its discovery topics."""
