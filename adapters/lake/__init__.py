"""The lake: many sites' messages in Parquet on an object store, with its catalog in PostgreSQL (DuckLake)."""
