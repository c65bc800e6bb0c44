"""Results as tables, CSV, JSON, Parquet or Markdown, and small charts."""
