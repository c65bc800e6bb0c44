"""The DuckDB file: opening and migrations, its one writer, and the cursors of queries."""
