"""Recording: from the broker to the database."""
