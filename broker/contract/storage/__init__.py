"""Storage: questions to the recorder, its answers and its statistics."""
