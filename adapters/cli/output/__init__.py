"""Writing results: formats, tables, charts, files and progress."""
