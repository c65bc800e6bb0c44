"""A database that is new and has the current schema, for tests that are not about creating one."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from storage.database.database import Database


def open_database(path: Path, memory_mb: int = 256) -> Database:
    """Open a database file; where there is none, copy one that was migrated once in this process."""
    if not path.exists():
        path.write_bytes(_migrated())
    return Database(path, memory_mb, min_free_mb=1)


@cache
def _migrated() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "scaup.duckdb"
        Database(path, 256, 1).close()
        return path.read_bytes()
