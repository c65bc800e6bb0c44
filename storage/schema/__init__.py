"""The schema as queries see it: typed tables, views, and the rows that the ledger expects."""
