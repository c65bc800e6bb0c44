"""The database and its one writer: a batch becomes durable in one transaction, or not at all."""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from broker.contract.storage.topics import Drift
from broker.mqtt.packets import Delivery
from storage.database.cursors import Cursors, close_connection
from storage.database.files import (
    file_size,
    first_line,
    hold_lock,
    opening_error,
    remove_leftovers,
    sync_file,
    sync_folder,
    wal_path,
)
from storage.database.migrate import migrate
from storage.database.prepared import Statements
from storage.database.redelivery import Committed
from storage.errors import ArchiveFailed, NoSpace, StorageError
from storage.schema.drift import DriftWatch
from storage.schema.typed_streams import TYPED_STREAMS
from storage.schema.views import define_views, last_number, literal

log = logging.getLogger(__name__)
T = TypeVar("T")

_INSERT = "INSERT INTO live.messages SELECT * EXCLUDE (stream) FROM batch"
_REFUSE = """
INSERT INTO live.rejected_message
SELECT number, received_at, event_at, 'recorder', topic, 'the typed table refused it', payload, payload_raw
FROM batch WHERE stream >= 0
"""

QUERIES_END_S = 5.0
IDLE_CHECKPOINT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a batch: how many rows were rejected, and what was new about the payloads."""

    rejected: int = 0
    drifts: tuple[Drift, ...] = ()

    def __add__(self, other: "Stored") -> "Stored":
        return Stored(self.rejected + other.rejected, self.drifts + other.drifts)


_DURABLE = """
SELECT count(*) FROM live.messages SEMI JOIN batch ON messages.received_at = batch.received_at AND messages.topic = batch.topic
    AND messages.session = batch.session AND messages.packet_id IS NOT DISTINCT FROM batch.packet_id
WHERE messages.received_at BETWEEN (SELECT min(received_at) FROM batch) AND (SELECT max(received_at) FROM batch)
"""

_OPEN_AGAIN = (duckdb.IOException, duckdb.FatalException, duckdb.InternalException, duckdb.ConnectionException)
"""Errors that a smaller batch would not avoid: the disk, or a database that DuckDB has given up on."""


def _raise_stuck() -> None:
    raise StorageError("a query that cannot be interrupted keeps the failed database open: it opens again when that ends")


class Database:
    """Owns the database file.

    One thread writes: everything but `cursor`, `free_bytes` and `file_sizes` belongs to it. Each query has a cursor of its own,
    which this class knows: running queries are interrupted before a failed database is closed and opened again. One that
    cannot be interrupted keeps DuckDB from opening it: then `on_stuck` is called, which may end the process.
    """

    def __init__(self, path: Path, memory_mb: int, min_free_mb: int, on_stuck: Callable[[], None] = _raise_stuck) -> None:
        """Open the file, create it if need be, bring its schema up to date and lock the configuration.

        Raises:
            DatabaseLocked: another process has it open.
            DatabaseTooNew: it was written by a newer release.
            StorageError: it cannot be opened.
        """
        self.path = path.resolve()
        self.archive = self.path.with_name("archive")
        self.compacting = self.path.with_name("compacting")
        self._memory_mb, self._min_free_bytes = memory_mb, min_free_mb * 1024 * 1024
        self._cursors = Cursors()
        self._last_number = 0
        self._unsure, self._on_stuck = False, on_stuck
        self._drift = DriftWatch()
        self._statements: Statements | None = None
        self._lock = hold_lock(self.path)
        try:
            self._connection: duckdb.DuckDBPyConnection | None = self._open()
        except StorageError:
            self._lock.close()
            raise

    def commit(self, table: pa.Table) -> Stored:
        """Make a batch durable: raw rows, typed rows and rejected rows.

        Raises:
            NoSpace: free disk is below the floor; nothing was written.
            StorageError: the database failed; it will be opened again by the next call. Which rows are durable is only known
                then: ask `remaining`.
        """
        if self.free_bytes < self._min_free_bytes:
            raise NoSpace(f"only {self.free_bytes >> 20} MiB of disk are free at {self.path.parent}: make room")
        with self._writing() as connection:
            return self._commit(self._statements_of(connection), table)

    @property
    def last_number(self) -> int:
        """The number of the last message that is durable, 0 before the first."""
        return self._last_number

    def remaining(self, table: pa.Table) -> pa.Table:
        """Return the rows of a batch that are not durable yet, after an attempt to commit it failed.

        Rows become durable in their order, so those that are there are the first ones. A row is known by its arrival time in
        microseconds together with its topic and packet identifier, whatever the clock did since.

        Raises:
            StorageError: the database failed.
        """
        with self._writing() as connection, self._statements_of(connection).showing(table) as statements:
            durable = _number(statements.run("durable", _DURABLE))
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
            return _number(connection.execute("SELECT coalesce(max(session), 0) FROM mqtt_session").fetchall())

    def again(self, committed: Committed, deliveries: list[Delivery]) -> list[Delivery]:
        """Return those of `deliveries` that are second deliveries of what is `committed`.

        Raises:
            StorageError: the database failed.
        """
        with self._writing() as connection:
            return committed.again(connection, self.archive, deliveries)

    def transact(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Do some writing in one transaction, which an error of `work` rolls back.

        Raises:
            StorageError: the database failed, or what `work` raises.
        """
        with self._writing() as connection, self._transaction(connection):
            return work(connection)

    def checkpoint(self) -> None:
        """Move what is in the write-ahead log into the file, if it is worth it: for a quiet moment, so that a start is quick.

        Raises:
            StorageError: the database failed.
        """
        if self.file_sizes[1] < IDLE_CHECKPOINT_BYTES:
            return
        with self._writing() as connection, suppress(duckdb.TransactionException):  # somebody else writes: another time
            connection.execute("CHECKPOINT")

    def replace(self, finish: Callable[[duckdb.DuckDBPyConnection], Path]) -> None:
        """Put another file in this database's place, which `finish` completes and names.

        Queries that run are given 5 s to end and then interrupted; new ones wait. The renaming is what makes the change, at
        once and for good.

        Raises:
            ArchiveFailed: a query cannot be interrupted, or this database not be closed cleanly; it stays in place.
            StorageError: the database failed, or what `finish` raises.
        """
        with self._cursors.held():
            if not (self.queries_ended(QUERIES_END_S) or self._cursors.interrupt(QUERIES_END_S)):
                raise ArchiveFailed("a query runs that cannot be interrupted: the database is replaced another time")
            with self._writing() as connection:
                new = finish(connection)
            self._shut()
            left = [each for each in (wal_path(self.path), wal_path(new)) if each.exists()]
            if left:
                raise ArchiveFailed(f"{left[0]} is left after closing: the database was not replaced")
            sync_file(new)
            sync_folder(self.path.parent)  # that the old file has no log any more, before there is a new one
            new.rename(self.path)
            sync_folder(self.path.parent)
            self._connection = self._open()

    def queries_ended(self, patience_s: float) -> bool:
        """Wait until every query that runs now has ended; tell whether they did."""
        return self._cursors.ended(patience_s)

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a connection of its own for one query.

        Raises:
            StorageError: the database is not open.
        """
        with self._cursors.lend(lambda: self._connection, 2 * QUERIES_END_S) as cursor:
            yield cursor

    def close(self) -> None:
        """Stop all queries, checkpoint and close the file. A query that cannot be interrupted is waited for, up to 5 s."""
        self._shut()
        self._lock.close()

    def _shut(self) -> bool:
        """Close the file; tell whether it is closed, or a query keeps it open."""
        connection, self._connection = self._connection, None
        ended = self._cursors.interrupt(QUERIES_END_S)
        if connection is not None:
            close_connection(connection)
        return ended

    def _give_up(self) -> None:
        if not self._shut():
            self._on_stuck()

    @property
    def free_bytes(self) -> int:
        """Free disk where the database lies."""
        return shutil.disk_usage(self.path.parent).free

    @property
    def file_sizes(self) -> tuple[int, int]:
        """Sizes of the database file and of its write-ahead log, in bytes."""
        return file_size(self.path), file_size(wal_path(self.path))

    @contextmanager
    def _writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend the connection. After a failure that leaves it unusable, or unsure what is durable, it is opened again."""
        if self._connection is None:
            self._connection = self._open()
        try:
            yield self._connection
        except duckdb.Error as error:
            if self._unsure or isinstance(error, _OPEN_AGAIN) or not _is_usable(self._connection):
                self._give_up()
            raise StorageError(f"the database failed: {first_line(error)}") from error
        except BaseException:
            if self._unsure or not _is_usable(self._connection):
                self._give_up()
            raise
        finally:
            self._unsure = False

    @contextmanager
    def _transaction(self, connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Begin, and at the end commit; whatever happens before that is rolled back. A COMMIT that fails may be durable."""
        connection.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._unsure = not _roll_back(connection)
            raise
        self._unsure = True
        connection.execute("COMMIT")
        self._unsure = False

    def _statements_of(self, connection: duckdb.DuckDBPyConnection) -> Statements:
        if self._statements is None or self._statements.connection is not connection:
            self._statements = Statements(connection)
        return self._statements

    def _commit(self, statements: Statements, table: pa.Table) -> Stored:
        """Commit with typed rows. What is too large, or refused by a typed table, is halved until one message stands alone."""
        if table.num_rows == 0:
            return Stored()
        try:
            return self._store(statements, table, typed=True)
        except duckdb.Error as error:
            if self._unsure or isinstance(error, _OPEN_AGAIN):
                raise
            if table.num_rows > 1:
                middle = table.num_rows // 2
                return self._commit(statements, table.slice(0, middle)) + self._commit(statements, table.slice(middle))
            if isinstance(error, duckdb.OutOfMemoryException):
                raise
            log.error("a typed table refused a message, kept raw: %s", first_line(error))
            return self._store(statements, table, typed=False)

    def _store(self, statements: Statements, table: pa.Table, typed: bool) -> Stored:
        """Store a batch in one transaction. Its numbers are given for good as soon as it is durable."""
        first = self._last_number + 1
        with statements.showing(table, first):
            with self._transaction(statements.connection):
                statements.run("insert_messages", _INSERT)
                rejected = _type_rows(statements, table, first) if typed else _number(statements.run("refuse", _REFUSE))
            self._last_number += table.num_rows
            drifts = self._drift.look(statements, rejected) if typed else ()
        return Stored(rejected, drifts)

    def _open(self) -> duckdb.DuckDBPyConnection:
        config: dict[str, Any] = {
            "storage_compatibility_version": "v1.5.0",  # the oldest supported DuckDB can open the file too
            "checkpoint_threshold": "128MB",  # one holds commits for 0.3 s: under full load every 20 s, else see `checkpoint`
            "memory_limit": f"{self._memory_mb}MiB",
            "temp_directory": "",  # queries that do not fit in memory are stopped, they do not fill the disk
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
        }
        shutil.rmtree(self.compacting, ignore_errors=True)
        try:
            connection = duckdb.connect(str(self.path), config=config)
        except duckdb.Error as error:
            raise opening_error(self.path, error) from error
        try:
            connection.execute("SET GLOBAL TimeZone = 'UTC'")
            migrate(connection)
            remove_leftovers(connection, self.archive)
            define_views(connection, self.archive)
            self._last_number = last_number(connection)
            lock(connection, self.archive, self.compacting)
        except (duckdb.Error, OSError) as error:
            close_connection(connection)
            raise opening_error(self.path, error) from error
        except StorageError:
            close_connection(connection)
            raise
        return connection


def lock(connection: duckdb.DuckDBPyConnection, *folders: Path) -> None:
    """Take from every connection to this database the access to files, but for those in `folders`, and to all settings."""
    allowed = ", ".join(literal(f"{folder}/") for folder in folders)
    connection.execute(f"SET allowed_directories = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _type_rows(statements: Statements, table: pa.Table, first_number: int) -> int:
    rejected = 0
    for code, rows in _rows_by_stream(table).items():
        typed = TYPED_STREAMS[code]
        inserted = _number(statements.run(f"insert_{typed.table}", typed.insert_sql(code)))
        if inserted < rows or _number(statements.run(f"incomplete_{typed.table}", typed.incomplete_sql("$1"), first_number)):
            rejected += _number(statements.run(f"reject_{typed.table}", typed.reject_sql(code)))
    return rejected


def _rows_by_stream(table: pa.Table) -> dict[int, int]:
    counts = table.column("stream").value_counts().to_pylist()
    return {each["values"]: each["counts"] for each in counts if each["values"] >= 0}


def _number(rows: list[tuple[Any, ...]]) -> int:
    return int(rows[0][0])


def _is_usable(connection: duckdb.DuckDBPyConnection | None) -> bool:
    """Tell whether a connection still works: a result that was not read to its end keeps it busy for ever."""
    try:
        return connection is not None and connection.execute("SELECT 1").fetchall() == [(1,)]
    except (duckdb.Error, MemoryError):
        return False


def _roll_back(connection: duckdb.DuckDBPyConnection) -> bool:
    """Roll back; tell whether no transaction is open now."""
    try:
        connection.execute("ROLLBACK")
    except duckdb.TransactionException:
        return True  # an error has ended it already
    except (duckdb.Error, MemoryError):
        return False
    return True
