"""From the bus to disk, and answers about the recorded data: the recorder."""

import os

# DuckDB's allocator keeps the address space of memory that it frees. Under the limit that `query/limits.py` sets, one large
# query would leave none to the others, for good. DuckDB reads this variable once, when it is imported.
os.environ.setdefault("DUCKDB_JE_MALLOC_CONF", "retain:false,dss:disabled")
