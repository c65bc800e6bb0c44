"""What the physical world would send."""
