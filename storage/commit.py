"""The database and its one writer: a batch becomes durable in one transaction, or not at all."""

import logging
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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

QUERIES_END_S = 5.0

_DURABLE = """
SELECT count(*) FROM messages SEMI JOIN batch ON messages.received_at = batch.received_at AND messages.topic = batch.topic
    AND messages.session = batch.session AND messages.packet_id IS NOT DISTINCT FROM batch.packet_id
WHERE messages.received_at BETWEEN (SELECT min(received_at) FROM batch) AND (SELECT max(received_at) FROM batch)
"""

_NOTHING_ELSE_HELPS = (duckdb.IOException, duckdb.FatalException, duckdb.InternalException, duckdb.ConnectionException)
"""Errors that a smaller batch would not avoid: the disk, or a database that DuckDB has given up on."""


class Database:
    """Owns the database file.

    One thread writes: everything but `cursor`, `free_bytes` and `file_sizes` belongs to it. Each query has a cursor of its own,
    which this class knows, so that no running query can keep a failed database from being closed and opened again.
    """

    def __init__(self, path: Path, memory_mb: int, min_free_mb: int) -> None:
        """Open the file, create it if need be, bring its schema up to date and lock the configuration.

        Raises:
            DatabaseLocked: another process has it open.
            DatabaseTooNew: it was written by a newer release.
            StorageError: it cannot be opened.
        """
        self.path = path
        self._memory_mb, self._min_free_bytes = memory_mb, min_free_mb * 1024 * 1024
        self._cursors: set[duckdb.DuckDBPyConnection] = set()
        self._cursors_change = threading.Condition()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection: duckdb.DuckDBPyConnection | None = self._open()

    def commit(self, table: pa.Table) -> int:
        """Make a batch durable: raw rows, typed rows and rejected rows. Return how many rows were rejected.

        Raises:
            NoSpace: free disk is below the floor; nothing was written.
            StorageError: the database failed; it will be opened again by the next call. Which rows are durable is only known
                then: ask `remaining`.
        """
        if self.free_bytes < self._min_free_bytes:
            raise NoSpace(f"only {self.free_bytes >> 20} MiB of disk are free at {self.path.parent}: make room")
        with self._writing() as connection:
            return _commit(connection, table)

    def remaining(self, table: pa.Table) -> pa.Table:
        """Return the rows of a batch that are not durable yet, after an attempt to commit it failed.

        Rows become durable in their order, so those that are there are the first ones. A row is known by its arrival time in
        microseconds together with its topic and packet identifier, whatever the clock did since.

        Raises:
            StorageError: the database failed.
        """
        with self._writing() as connection:
            connection.register("batch", table)
            durable = _number(connection.execute(_DURABLE))
            connection.unregister("batch")
        return table.slice(durable)

    def begin_session(self) -> int:
        """Note that the broker began a new session, and return its number.

        Raises:
            StorageError: the database failed.
        """
        number = self.session() + 1
        with self._writing() as connection:
            connection.execute("INSERT INTO mqtt_session VALUES (?, now())", [number])
        return number

    def session(self) -> int:
        """Return the number of the last session, 0 before the first.

        Raises:
            StorageError: the database failed.
        """
        with self._writing() as connection:
            return _number(connection.execute("SELECT coalesce(max(session), 0) FROM mqtt_session"))

    def committed(self, session: int) -> Committed:
        """Return what was committed last in a session, to recognise what is delivered again.

        Raises:
            StorageError: the database failed.
        """
        with self._writing() as connection:
            return Committed.load(connection, session)

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a connection of its own for one query.

        Raises:
            StorageError: the database is not open.
        """
        if (connection := self._connection) is None:
            raise StorageError("the database is not open: the recorder's log says why")
        try:
            cursor = connection.cursor()
        except duckdb.Error as error:
            raise StorageError(f"the database failed: {first_line(error)}") from error
        with self._cursors_change:
            self._cursors.add(cursor)
        try:
            yield cursor
        finally:
            _close(cursor)
            with self._cursors_change:
                self._cursors.discard(cursor)
                self._cursors_change.notify_all()

    def close(self) -> None:
        """Stop all queries, checkpoint and close the file. A query that cannot be interrupted is waited for, up to 5 s."""
        connection, self._connection = self._connection, None
        with self._cursors_change:
            for cursor in self._cursors:
                _interrupt(cursor)
            self._cursors_change.wait_for(lambda: not self._cursors, QUERIES_END_S)
        if connection is not None:
            _close(connection)

    @property
    def free_bytes(self) -> int:
        """Free disk where the database lies."""
        return shutil.disk_usage(self.path.parent).free

    @property
    def file_sizes(self) -> tuple[int, int]:
        """Sizes of the database file and of its write-ahead log, in bytes."""
        wal = self.path.with_name(self.path.name + ".wal")
        return _size(self.path), _size(wal)

    @contextmanager
    def _writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend the connection; after a failure close it: an invalidated database refuses everything until opened again."""
        if self._connection is None:
            self._connection = self._open()
        try:
            yield self._connection
        except duckdb.Error as error:
            self.close()
            raise StorageError(f"the database failed: {first_line(error)}") from error

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
        except duckdb.Error as error:
            _close(connection)
            raise opening_error(self.path, error) from error
        except StorageError:
            _close(connection)
            raise
        return connection


def opening_error(path: Path, error: duckdb.Error) -> StorageError:
    """Turn DuckDB's error on opening a file into one that names the fix."""
    holder = re.search(r"PID (\d+)", str(error))
    if isinstance(error, duckdb.IOException) and "lock" in str(error).lower():
        who = f"process {holder[1]}" if holder else "another process"
        return DatabaseLocked(f"{path} is held by {who}: only one recorder may run on a database")
    return StorageError(f"{path} cannot be opened: {first_line(error)}")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text."""
    return str(error).strip().partition("\n")[0]


def _commit(connection: duckdb.DuckDBPyConnection, table: pa.Table) -> int:
    """Commit with typed rows. What is too large, or refused by a typed table, is halved until one message stands alone."""
    if table.num_rows == 0:
        return 0
    try:
        return _transaction(connection, table, typed=True)
    except duckdb.Error as error:
        if isinstance(error, _NOTHING_ELSE_HELPS):
            raise
        if table.num_rows > 1:
            middle = table.num_rows // 2
            return _commit(connection, table.slice(0, middle)) + _commit(connection, table.slice(middle))
        if isinstance(error, duckdb.OutOfMemoryException):
            raise
        log.error("a typed table refused a message, kept raw: %s", first_line(error))
        return _transaction(connection, table, typed=False)


def _transaction(connection: duckdb.DuckDBPyConnection, table: pa.Table, typed: bool) -> int:
    connection.register("batch", table)
    connection.execute("BEGIN")
    try:
        connection.execute(_INSERT)
        rejected = _type_rows(connection, table) if typed else _reject_rows(connection)
        connection.execute("COMMIT")
    except duckdb.Error:
        _roll_back(connection)
        raise
    connection.unregister("batch")
    return rejected


def _type_rows(connection: duckdb.DuckDBPyConnection, table: pa.Table) -> int:
    rejected = 0
    for code, rows in _rows_by_stream(table).items():
        typed = TYPED_STREAMS[code]
        inserted = _number(connection.execute(typed.insert_sql(code)))
        if inserted < rows:
            rejected += _number(connection.execute(typed.reject_sql(code)))
    return rejected


def _reject_rows(connection: duckdb.DuckDBPyConnection) -> int:
    return _number(
        connection.execute(
            "INSERT INTO rejected_message SELECT received_at, event_at, 'recorder', topic, 'the typed table refused it', "
            "payload, payload_raw FROM batch WHERE stream >= 0"
        )
    )


def _rows_by_stream(table: pa.Table) -> dict[int, int]:
    counts = table.column("stream").value_counts().to_pylist()
    return {each["values"]: each["counts"] for each in counts if each["values"] >= 0}


def _number(result: duckdb.DuckDBPyConnection) -> int:
    rows = result.fetchall()  # not fetchone: a result that is not read to its end keeps the connection busy
    return int(rows[0][0])


def _roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    try:
        connection.execute("ROLLBACK")
    except duckdb.Error:
        log.debug("nothing to roll back")


def _interrupt(connection: duckdb.DuckDBPyConnection) -> None:
    try:
        connection.interrupt()
    except duckdb.Error:
        log.debug("nothing to interrupt")


def _close(connection: duckdb.DuckDBPyConnection) -> None:
    try:
        connection.close()
    except duckdb.Error as error:
        log.warning("while closing: %s", first_line(error))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
