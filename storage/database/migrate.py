"""Numbered SQL migrations, each applied once, in order, in a separate transaction."""

from contextlib import suppress
from importlib.resources import files

from duckdb import DuckDBPyConnection, Error

from storage.errors import DatabaseTooNew

_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migration (number INTEGER NOT NULL, name VARCHAR NOT NULL, applied_at TIMESTAMPTZ NOT NULL)
"""


def migrate(connection: DuckDBPyConnection, last: int | None = None) -> list[int]:
    """Migrate a database to the schema of this release, or of the migration `last`; return the migrations that were applied.

    Raises:
        DatabaseTooNew: the database has a migration that this release does not know.
    """
    available = _available()
    missing = [number for number in pending(connection) if last is None or number <= last]
    for number in missing:
        _apply(connection, number, *available[number])
    return missing


def pending(connection: DuckDBPyConnection) -> list[int]:
    """Return the numbers of the migrations that a database does not have, in order.

    Raises:
        DatabaseTooNew: the database has a migration that this release does not know.
    """
    available = _available()
    connection.execute(_TABLE)
    applied = {number for (number,) in connection.execute("SELECT number FROM schema_migration").fetchall()}
    if unknown := applied - available.keys():
        raise DatabaseTooNew(
            f"the database has migration {max(unknown)}, this release knows {max(available)}: upgrade Scaup, or use another "
            "data directory (SCAUP_DATA_DIR)"
        )
    return sorted(available.keys() - applied)


def _apply(connection: DuckDBPyConnection, number: int, name: str, sql: str) -> None:
    connection.execute("BEGIN")
    try:
        connection.execute(sql)
        connection.execute("INSERT INTO schema_migration VALUES (?, ?, now())", [number, name])
        connection.execute("COMMIT")
    except Error:
        with suppress(Error):  # a failed COMMIT has ended the transaction
            connection.execute("ROLLBACK")
        raise


def _available() -> dict[int, tuple[str, str]]:
    found = {}
    for entry in files("storage.database").joinpath("migrations").iterdir():
        number, _, name = entry.name.removesuffix(".sql").partition("_")
        if entry.name.endswith(".sql"):
            found[int(number)] = (name, entry.read_text("utf-8"))
    return found
