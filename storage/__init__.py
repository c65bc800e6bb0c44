"""Bus → disk, and answers about what is there: the recorder."""

import os

# DuckDB's allocator keeps the address space of what it frees. Under the limit that `memory.py` sets, one large query would
# leave everybody else without any, for ever. It reads this once, when DuckDB is imported.
os.environ.setdefault("DUCKDB_JE_MALLOC_CONF", "retain:false,dss:disabled")
