"""Bus → bus: what decides."""
