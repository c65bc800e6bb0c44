"""Compaction of the database file after rows were removed: DELETE never shrinks a DuckDB file, so a new file is needed.

The new file is filled while recording goes on, completed while the writer waits, and renamed over the old one. Until the
renaming the old file is the database, after it the new one. There is no state in between, and a crash leaves one of them whole.
"""

import shutil
from pathlib import Path

import duckdb
from duckdb import DuckDBPyConnection, Error

from broker.contract.sql import identifier, literal
from broker.log import Log
from storage.database.database import Database
from storage.database.migrate import migrate
from storage.errors import ArchiveFailed, StorageError, first_line
from storage.retention.archive import Report
from storage.retention.archive_files import InWriter

log = Log(__name__)

_NEW = "compacting"
_TABLES = """
SELECT schema_name, table_name, list_contains(list(column_name), 'number') AS numbered
FROM duckdb_columns() JOIN duckdb_tables() USING (database_name, schema_name, table_name)
WHERE database_name = current_database() AND NOT temporary GROUP BY ALL ORDER BY ALL
"""
MIN_BYTES = 8 * 1024 * 1024
"""Smaller files, including their write-ahead log, are not compacted."""


def worth_compacting(database: Database, moved: int) -> bool:
    """Return whether a quarter of the file or more is free, or was used by the `moved` messages that have just left it."""
    if sum(database.file_sizes) < MIN_BYTES:
        return False
    with database.cursor() as cursor:
        ((free, size),) = cursor.execute("SELECT free_blocks, total_blocks FROM pragma_database_size() LIMIT 1").fetchall()
        ((live,),) = cursor.execute("SELECT count(*) FROM live.messages").fetchall()
    return bool(free * 4 > size or moved * 3 > live)


def compact(database: Database, in_writer: InWriter, report: Report) -> tuple[int, int]:
    """Rewrite the database to a file without gaps; return its size before and after, in bytes.

    Raises:
        ArchiveFailed: the disk is too full, or the file could not be written; the old file stays.
        StorageError: the database failed.
    """
    before = sum(database.file_sizes)
    if database.free_bytes < before:
        raise ArchiveFailed(f"compacting needs {before >> 20} MiB of free disk, there are {database.free_bytes >> 20} MiB")
    new = database.compacting / database.path.name
    try:
        _prepare(new)
        until = database.last_number
        with database.cursor() as cursor:
            cursor.execute(f"ATTACH {literal(str(new))} AS {_NEW} (STORAGE_VERSION 'v1.5.0')")
            _copy_until(cursor, until, report)
        in_writer(lambda: database.replace_file(lambda connection: _complete(connection, until, new)))
    except (Error, OSError) as error:
        raise ArchiveFailed(f"the database could not be compacted: {first_line(error)}") from error
    finally:
        in_writer(lambda: _clean_up(database))
    return before, sum(database.file_sizes)


def _prepare(new: Path) -> None:
    shutil.rmtree(new.parent, ignore_errors=True)
    new.parent.mkdir(parents=True)
    connection = duckdb.connect(str(new), config={"storage_compatibility_version": "v1.5.0"})
    migrate(connection)
    connection.execute("DELETE FROM schema_migration")
    connection.close()


def _copy_until(cursor: DuckDBPyConnection, until: int, report: Report) -> None:
    numbered = [table for *table, has_number in cursor.execute(_TABLES).fetchall() if has_number]
    for done, (schema, table) in enumerate(numbered):
        report("compacting", done, len(numbered))
        _copy(cursor, schema, table, f"number <= {until}")


def _complete(connection: DuckDBPyConnection, until: int, new: Path) -> Path:
    for schema, table, has_number in connection.execute(_TABLES).fetchall():
        _copy(connection, schema, table, f"number > {until}" if has_number else "true")
        _compare(connection, f"{identifier(schema)}.{identifier(table)}")
    connection.execute(f"CHECKPOINT {_NEW}")
    connection.execute(f"DETACH {_NEW}")
    return new


def _copy(connection: DuckDBPyConnection, schema: str, table: str, condition: str) -> None:
    name = f"{identifier(schema)}.{identifier(table)}"
    connection.execute(f"INSERT INTO {_NEW}.{name} BY NAME SELECT * FROM {name} WHERE {condition}")


def _compare(connection: DuckDBPyConnection, name: str) -> None:
    sql = f"SELECT (SELECT count(*) FROM {name}), (SELECT count(*) FROM {_NEW}.{name})"
    ((old, new),) = connection.execute(sql).fetchall()
    if old != new:
        raise ArchiveFailed(f"{name} has {old} rows, its copy {new}: the database was not replaced")


def _clean_up(database: Database) -> None:
    """Detach and remove an unfinished file."""
    try:
        database.transact(lambda connection: None)  # opens the database if it is closed
        with database.cursor() as cursor:
            cursor.execute(f"DETACH DATABASE IF EXISTS {_NEW}")
    except (Error, StorageError) as error:
        log.warning("compaction-incomplete", "after compacting: %(error)s", error=first_line(error))
    shutil.rmtree(database.compacting, ignore_errors=True)
