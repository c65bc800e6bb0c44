"""What is recorded, as files for the lake."""
