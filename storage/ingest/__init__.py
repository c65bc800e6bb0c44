"""From the broker into the database: the recording session."""
