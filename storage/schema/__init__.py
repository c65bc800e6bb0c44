"""What the database shows: typed tables, views, drift, and what the ledger expects."""
