"""The DuckLake: a DuckDB connection with the lake attached, its tables, and what changes in their columns."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
from duckdb import DuckDBPyConnection

from adapters.lake.catalog import conninfo
from adapters.lake.central import extension
from adapters.lake.files import PASSWORD, LakeFile
from broker.contract.outbox import MESSAGES, NOT_FORWARDED
from broker.contract.sql import identifier, literal

LAKE = "lake"
_EXTENSIONS = ("ducklake", "postgres_scanner", "httpfs")
_RETRIES = {"ducklake_max_retry_count": 200, "ducklake_retry_wait_ms": 10, "ducklake_retry_backoff": 1.2}
"""With the defaults a writer among many starves."""
_S3_TRIES = {"http_timeout": 20, "http_retries": 2}
_PARQUET = {"parquet_compression": "zstd", "parquet_version": "2"}
"""Version 2 stores ascending numbers and times as differences."""
_IDENTITY = {"site": "VARCHAR", "incarnation": "VARCHAR"}
_COLUMNS = """
SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = 'lake' AND schema_name = 'main'
"""

Columns = Mapping[str, Mapping[str, str]]
"""The columns of tables with their types."""


def connect(
    lake: LakeFile, memory_mb: int = 512, threads: int = 2, read_only: bool = False, spill: Path | None = None
) -> DuckDBPyConnection:
    """Open a DuckDB with the lake attached as `lake`; its catalog is made where there is none and `read_only` is not set.

    What does not fit into memory goes into the folder `spill`, if there is one.

    Raises:
        duckdb.Error: PostgreSQL cannot be reached, or has no lake.
    """
    os.environ[PASSWORD] = lake.password  # in the address it would be in messages of errors
    connection = open_store(lake, memory_mb, threads, spill)
    try:
        options = f"DATA_PATH {literal(lake.store + '/')}, METADATA_SCHEMA 'public', DATA_INLINING_ROW_LIMIT 0"
        options += ", READ_ONLY" if read_only else ""
        connection.execute(f"ATTACH {literal(f'ducklake:postgres:{conninfo(lake)}')} AS {LAKE} ({options})")
    except BaseException:
        connection.close()
        raise
    return connection


def open_store(lake: LakeFile, memory_mb: int = 512, threads: int = 2, spill: Path | None = None) -> DuckDBPyConnection:
    """Open a DuckDB that reads and writes the store, without the lake's catalog."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{memory_mb}MiB",
        "threads": threads,
        "temp_directory": str(spill or ""),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "python_enable_replacements": False,
    }
    connection = duckdb.connect(":memory:", config=config)
    try:
        for name in _EXTENSIONS:
            connection.execute(f"LOAD {literal(str(extension(name)))}")
        for name, value in {**_RETRIES, **_S3_TRIES}.items():
            connection.execute(f"SET GLOBAL {name} = {value}")
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        connection.execute(_secret(lake))
    except BaseException:
        connection.close()
        raise
    return connection


def make_tables(connection: DuckDBPyConnection, wanted: Columns) -> None:
    """Make the tables and columns that the lake does not have, in the connection's transaction.

    A table's files are apart by site and day, and sorted, so that a question for one reads little else.
    """
    known = known_columns(connection)
    for table, columns in wanted.items():
        name = f"{LAKE}.main.{identifier(table)}"
        if table not in known:
            listed = ", ".join(f"{identifier(column)} {kind}" for column, kind in {**_IDENTITY, **columns}.items())
            connection.execute(f"CREATE TABLE {name} ({listed})")
            parts = "site, year(received_at), month(received_at), day(received_at)"
            connection.execute(f"ALTER TABLE {name} SET PARTITIONED BY ({parts})")
            connection.execute(f"ALTER TABLE {name} SET SORTED BY ({', '.join(f'{each} ASC' for each in order_of(columns))})")
        else:
            for column in columns.keys() - known[table]:
                connection.execute(f"ALTER TABLE {name} ADD COLUMN {identifier(column)} {columns[column]}")


def set_options(connection: DuckDBPyConnection) -> None:
    """Let all writers compress well: rows are read far more often than written."""
    for name, value in _PARQUET.items():
        connection.execute(f"CALL {LAKE}.set_option({literal(name)}, {literal(value)})")


def known_columns(connection: DuckDBPyConnection) -> dict[str, set[str]]:
    """Return the columns of each table of the lake."""
    found: dict[str, set[str]] = {}
    for table, column in connection.execute(_COLUMNS).fetchall():
        found.setdefault(table, set()).add(column)
    return found


def forwarded_columns(table: str, columns: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the columns of a site's table that go into the lake, with their types."""
    return {name: kind for name, kind in columns if table != MESSAGES or name not in NOT_FORWARDED}


def order_of(columns: Iterable[str]) -> list[str]:
    """Return the columns by which the rows of a table are sorted."""
    return ["topic", "number"] if "topic" in set(columns) else ["number"]


def _secret(lake: LakeFile) -> str:
    options = [f"KEY_ID {literal(lake.access_key)}", f"SECRET {literal(lake.secret_key)}", f"REGION {literal(lake.region)}"]
    if lake.endpoint:
        where = urlsplit(lake.endpoint)
        options += [f"ENDPOINT {literal(where.netloc)}", "URL_STYLE 'path'", f"USE_SSL {where.scheme == 'https'}"]
    return f"CREATE SECRET store (TYPE s3, {', '.join(options)}, SCOPE {literal(f's3://{lake.bucket}')})"
