"""Starting, watching and stopping the system, natively or in containers."""
