"""Every component: its presence, and the messages that it rejected."""
