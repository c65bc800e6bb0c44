"""The database and its one writer: a batch becomes durable in one transaction, or not at all."""

import logging
import re
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from storage.errors import DatabaseLocked, NoSpace, StorageError
from storage.migrate import migrate
from storage.redelivery import Committed
from storage.typing import TYPED_STREAMS

log = logging.getLogger(__name__)

_INSERT = """
INSERT INTO messages (received_at, event_at, topic, payload, payload_raw, qos, retain, source, boot, seq, session, packet_id)
SELECT received_at, event_at, topic, payload, payload_raw, qos, retain, source, boot, seq, session, packet_id FROM batch
"""

_BROKEN_WORLD = (duckdb.IOException, duckdb.FatalException, duckdb.OutOfMemoryException, duckdb.ConnectionException)
"""Errors that no other data would avoid: the disk, the memory, a database that DuckDB has given up on."""


class Database:
    """Owns the database file. Used by one thread at a time; queries get cursors of their own."""

    def __init__(self, path: Path, memory_mb: int, min_free_mb: int) -> None:
        """Open the file, create it if need be, bring its schema up to date and lock the configuration.

        Raises:
            DatabaseLocked: another process has it open.
            DatabaseTooNew: it was written by a newer release.
            StorageError: it cannot be opened.
        """
        self.path = path
        self._memory_mb, self._min_free_bytes = memory_mb, min_free_mb * 1024 * 1024
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = self._open()
        self._is_open = True

    def commit(self, table: pa.Table) -> int:
        """Make a batch durable: raw rows, typed rows and rejected rows. Return how many rows were rejected.

        Raises:
            NoSpace: free disk is below the floor; nothing was written.
            StorageError: the database failed; nothing was written and the database was opened again.
        """
        if self.free_bytes < self._min_free_bytes:
            raise NoSpace(f"only {self.free_bytes >> 20} MiB of disk are free at {self.path.parent}: make room")
        self._open_again()
        try:
            return self._commit(table)
        except duckdb.Error as error:
            self._close_broken()
            raise StorageError(f"the database failed: {first_line(error)}") from error

    def begin_session(self) -> int:
        """Note that the broker began a new session, and return its number."""
        number = self.session() + 1
        self._connection.execute("INSERT INTO mqtt_session VALUES (?, now())", [number])
        return number

    def session(self) -> int:
        """Return the number of the last session, 0 before the first."""
        row = self._connection.execute("SELECT coalesce(max(session), 0) FROM mqtt_session").fetchone()
        return int(row[0]) if row else 0

    def committed(self, session: int) -> Committed:
        """Return what was committed last in a session, to recognise what is delivered again."""
        return Committed.load(self._connection, session)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a connection of its own for one query; the caller closes it."""
        return self._connection.cursor()

    def close(self) -> None:
        """Checkpoint and close the file."""
        self._connection.close()

    @property
    def free_bytes(self) -> int:
        """Free disk where the database lies."""
        return shutil.disk_usage(self.path.parent).free

    @property
    def file_sizes(self) -> tuple[int, int]:
        """Sizes of the database file and of its write-ahead log, in bytes."""
        wal = self.path.with_name(self.path.name + ".wal")
        return tuple(path.stat().st_size if path.exists() else 0 for path in (self.path, wal))  # type: ignore[return-value]

    def _commit(self, table: pa.Table) -> int:
        try:
            return self._transaction(table, typed=True)
        except _BROKEN_WORLD:
            raise
        except duckdb.Error as error:
            log.error("the typed tables refused a batch of %d messages, kept raw: %s", table.num_rows, first_line(error))
            if isinstance(error, duckdb.InternalException):
                self._close_broken()
                self._open_again()
            return self._transaction(table, typed=False)

    def _transaction(self, table: pa.Table, typed: bool) -> int:
        connection = self._connection
        connection.register("batch", table)
        connection.execute("BEGIN")
        try:
            connection.execute(_INSERT)
            rejected = self._type_rows(table) if typed else self._reject_rows(table)
            connection.execute("COMMIT")
        except duckdb.Error:
            _roll_back(connection)
            raise
        connection.unregister("batch")
        return rejected

    def _type_rows(self, table: pa.Table) -> int:
        rejected = 0
        for code, rows in _rows_by_stream(table).items():
            typed = TYPED_STREAMS[code]
            inserted = _changed(self._connection.execute(typed.insert_sql(code)))
            if inserted < rows:
                rejected += _changed(self._connection.execute(typed.reject_sql(code)))
        return rejected

    def _reject_rows(self, table: pa.Table) -> int:
        codes = _rows_by_stream(table)
        self._connection.execute(
            "INSERT INTO rejected_message SELECT received_at, event_at, 'recorder', topic, 'the typed table refused it', "
            "payload, payload_raw FROM batch WHERE stream >= 0"
        )
        return sum(codes.values())

    def _open(self) -> duckdb.DuckDBPyConnection:
        config: dict[str, Any] = {
            "storage_compatibility_version": "v1.5.0",  # the oldest supported DuckDB can open the file too
            "checkpoint_threshold": "64MB",  # 1.7 times the sustained rate of the default 16 MB
            "memory_limit": f"{self._memory_mb}MiB",
            "temp_directory": "",  # queries that do not fit in memory are stopped, they do not fill the disk
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
        }
        try:
            connection = duckdb.connect(str(self.path), config=config)
        except duckdb.Error as error:
            raise opening_error(self.path, error) from error
        try:
            connection.execute("SET GLOBAL TimeZone = 'UTC'")
            migrate(connection)
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
        except BaseException:
            connection.close()
            raise
        return connection

    def _close_broken(self) -> None:
        """A database that DuckDB has invalidated refuses everything until it is closed and opened again."""
        self._is_open = False
        try:
            self._connection.close()
        except duckdb.Error as error:
            log.error("while closing the broken database: %s", first_line(error))

    def _open_again(self) -> None:
        if not self._is_open:
            self._connection = self._open()
            self._is_open = True


def opening_error(path: Path, error: duckdb.Error) -> StorageError:
    """Turn DuckDB's error on opening a file into one that names the fix."""
    holder = re.search(r"PID (\d+)", str(error))
    if "lock" in str(error).lower():
        who = f"process {holder[1]}" if holder else "another process"
        return DatabaseLocked(f"{path} is held by {who}: only one recorder may run on a database")
    return StorageError(f"{path} cannot be opened: {first_line(error)}")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text."""
    return str(error).strip().partition("\n")[0]


def _rows_by_stream(table: pa.Table) -> dict[int, int]:
    counts = table.column("stream").value_counts().to_pylist()
    return {each["values"]: each["counts"] for each in counts if each["values"] >= 0}


def _changed(result: duckdb.DuckDBPyConnection) -> int:
    row = result.fetchone()
    return int(row[0]) if row else 0


def _roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    try:
        connection.execute("ROLLBACK")
    except duckdb.Error:
        log.debug("nothing to roll back")
