"""The DuckDB file: its one writer, its cursors, its migrations and its files."""
