"""The last wall against queries that eat memory: some functions ignore DuckDB's own limit and would get the process killed."""

import resource
from pathlib import Path

HEADROOM_BYTES = 4 * 1024**3


def limit_address_space() -> None:
    """Let this process grow by 4 GiB of address space at most: beyond that, the query that asks gets an error."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    if not pages:
        return
    limit = pages * resource.getpagesize() + HEADROOM_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
