"""The database and its one writer: a batch becomes durable in one transaction, or not at all."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from broker.contract.storage.topics import Drift
from broker.log import Log
from broker.mqtt.packets import Delivery
from storage.database.batch import Statements
from storage.database.cursors import Cursors, close_connection
from storage.database.drift import DriftDetector
from storage.database.opening import hold_lock, open_for_writing
from storage.database.redelivery import CommittedMessages
from storage.errors import ArchiveFailed, NoSpace, StorageError, first_line
from storage.files import file_size, sync_file, sync_folder, wal_path
from storage.schema.typed_streams import TYPED_STREAMS

log = Log(__name__)
T = TypeVar("T")

_INSERT = "INSERT INTO live.messages SELECT * EXCLUDE (stream) FROM batch"
_REFUSE = """
INSERT INTO live.rejected_message
SELECT number, received_at, event_at, 'recorder', topic, 'the typed table refused it', payload, payload_raw
FROM batch WHERE stream >= 0
"""

QUERIES_END_S = 5.0
"""Time for queries to end before the file is closed or replaced."""
IDLE_CHECKPOINT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CommitResult:
    """The outcome of a commit: the number of rejected rows, and changes in the shape of the payloads."""

    rejected: int = 0
    drifts: tuple[Drift, ...] = ()

    def __add__(self, other: "CommitResult") -> "CommitResult":
        return CommitResult(self.rejected + other.rejected, self.drifts + other.drifts)


_REOPEN = (duckdb.IOException, duckdb.FatalException, duckdb.InternalException, duckdb.ConnectionException)
"""Errors that a smaller batch would not avoid: the disk, or a database that DuckDB has invalidated."""


def _raise_stuck() -> None:
    raise StorageError("a query that cannot be interrupted keeps the failed database open: it is reopened when the query ends")


class Database:
    """Owns the database file.

    One thread writes. Others may use `cursor`, `wait_for_queries` and the properties only. Each query has its own cursor; all
    of them are interrupted before a failed database is closed and reopened. A query that cannot be interrupted prevents DuckDB
    from reopening the file: then `on_stuck` is called, which may end the process.
    """

    def __init__(self, path: Path, memory_mb: int, min_free_mb: int, on_stuck: Callable[[], None] = _raise_stuck) -> None:
        """Open the file, create it if there is none, bring its schema up to date and lock the configuration.

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
        self._drift = DriftDetector()
        self._statements: Statements | None = None
        self._lock = hold_lock(self.path)
        try:
            self._connection: duckdb.DuckDBPyConnection | None = self._open()
        except StorageError:
            self._lock.close()
            raise

    def commit(self, table: pa.Table) -> CommitResult:
        """Make a batch durable: raw rows, typed rows and rejected rows.

        Raises:
            NoSpace: free disk is below the limit; nothing was written.
            StorageError: the database failed; the next call reopens it. Some rows may be durable: `remaining` returns the
                others.
        """
        if self.free_bytes < self._min_free_bytes:
            raise NoSpace(f"only {self.free_bytes >> 20} MiB of disk are free at {self.path.parent}: make room")
        with self._writing() as connection:
            return self._commit(self._statements_of(connection), table)

    @property
    def last_number(self) -> int:
        """The number of the last message that is durable, 0 before the first."""
        return self._last_number

    def newest_at(self) -> datetime | None:
        """Return when the last message in the database was received, None if all of them are archived.

        Raises:
            StorageError: the database failed.
        """
        with self._writing() as connection:
            rows = connection.execute("SELECT received_at FROM live.messages WHERE number = ?", [self._last_number]).fetchall()
        return rows[0][0] if rows else None

    def remaining(self, table: pa.Table, before: int) -> pa.Table:
        """Return the rows of a batch that are not durable yet, after an attempt to commit it failed.

        `before` is the `last_number` before the first attempt. Rows become durable in their order, and get the next numbers:
        the durable ones are the first, as many as there are higher numbers now. Their times of arrival do not matter.

        Raises:
            StorageError: the database failed.
        """
        with self._writing():  # opens the file again, and counts, if the outcome of a COMMIT is not known
            return table.slice(self._last_number - before)

    def begin_session(self) -> int:
        """Record that the broker began a new session, and return its number.

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

    def find_redelivered(self, committed: CommittedMessages, deliveries: list[Delivery]) -> list[Delivery]:
        """Return the deliveries that repeat a message of `committed`.

        Raises:
            StorageError: the database failed.
        """
        with self._writing() as connection:
            return committed.find_redelivered(connection, self.archive, deliveries)

    def transact(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Run `work` in one transaction, which an error of it rolls back; return its result.

        Raises:
            StorageError: the database failed, or what `work` raises.
        """
        with self._writing() as connection, self._transaction(connection):
            return work(connection)

    def checkpoint(self) -> None:
        """Move a large write-ahead log into the file: called in a quiet moment, it makes the next start quick.

        Raises:
            StorageError: the database failed.
        """
        if self.file_sizes[1] < IDLE_CHECKPOINT_BYTES:
            return
        with (
            self._writing() as connection,
            suppress(duckdb.TransactionException),
        ):  # another thread writes: next time
            connection.execute("CHECKPOINT")

    def replace_file(self, finish: Callable[[duckdb.DuckDBPyConnection], Path]) -> None:
        """Replace the database file by another one, which `finish` completes and returns.

        Running queries have 5 s to end and are then interrupted; new ones wait. The renaming makes the change at once and for
        good.

        Raises:
            ArchiveFailed: a query cannot be interrupted, or this database cannot be closed cleanly; it stays in place.
            StorageError: the database failed, or what `finish` raises.
        """
        with self._cursors.held():
            if not (self.wait_for_queries(QUERIES_END_S) or self._cursors.interrupt(QUERIES_END_S)):
                raise ArchiveFailed("a running query cannot be interrupted: the next run replaces the database")
            with self._writing() as connection:
                new = finish(connection)
            self._close_file()
            logs = [each for each in (wal_path(self.path), wal_path(new)) if each.exists()]
            if logs:
                raise ArchiveFailed(f"{logs[0]} is left after closing: the database was not replaced")
            sync_file(new)
            sync_folder(self.path.parent)  # the old file's log is removed before there is a new file
            new.rename(self.path)
            sync_folder(self.path.parent)
            self._connection = self._open()

    def wait_for_queries(self, timeout_s: float) -> bool:
        """Wait until every query that runs now has ended; return whether all did in time."""
        return self._cursors.wait(timeout_s)

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a cursor for one query.

        Raises:
            StorageError: the database is not open.
        """
        with self._cursors.lend(lambda: self._connection, 2 * QUERIES_END_S) as cursor:
            yield cursor

    def close(self) -> None:
        """Stop all queries, checkpoint and close the file. Wait up to 5 s for a query that cannot be interrupted."""
        self._close_file()
        self._lock.close()

    def _close_file(self) -> bool:
        """Close the file; return False if a query keeps it open."""
        connection, self._connection = self._connection, None
        ended = self._cursors.interrupt(QUERIES_END_S)
        if connection is not None:
            close_connection(connection)
        return ended

    def _close_failed(self) -> None:
        if not self._close_file():
            self._on_stuck()

    @property
    def free_bytes(self) -> int:
        """Free bytes on the disk of the database."""
        return shutil.disk_usage(self.path.parent).free

    def check_room(self, size: int) -> None:
        """Check that files of `size` bytes beside the database leave enough free disk for recording.

        Raises:
            NoSpace: they do not.
        """
        needed = self._min_free_bytes + size
        if (free := self.free_bytes) < needed:
            raise NoSpace(f"{free >> 20} MiB of disk are free at {self.path.parent}, {needed >> 20} MiB are needed: make room")

    @property
    def file_sizes(self) -> tuple[int, int]:
        """Sizes of the database file and of its write-ahead log, in bytes."""
        return file_size(self.path), file_size(wal_path(self.path))

    @contextmanager
    def _writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend the connection, opened if it is closed. Close it after an error that leaves it unusable or its state unknown."""
        if self._connection is None:
            self._connection = self._open()
        try:
            yield self._connection
        except duckdb.Error as error:
            if self._unsure or isinstance(error, _REOPEN) or not _is_usable(self._connection):
                self._close_failed()
            raise StorageError(f"the database failed: {first_line(error)}") from error
        except BaseException:
            if self._unsure or not _is_usable(self._connection):
                self._close_failed()
            raise
        finally:
            self._unsure = False

    @contextmanager
    def _transaction(self, connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Begin, and commit at the end; roll back after any error before that. A COMMIT that fails may be durable."""
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

    def _commit(self, statements: Statements, table: pa.Table) -> CommitResult:
        """Commit with typed rows. Halve a batch that is too large, or refused by a typed table, down to single messages."""
        if table.num_rows == 0:
            return CommitResult()
        try:
            return self._store(statements, table, typed=True)
        except duckdb.Error as error:
            if self._unsure or isinstance(error, _REOPEN):
                raise
            if table.num_rows > 1:
                middle = table.num_rows // 2
                return self._commit(statements, table.slice(0, middle)) + self._commit(statements, table.slice(middle))
            if isinstance(error, duckdb.OutOfMemoryException):
                raise
            log.error(
                "typed-row-refused", "a typed table refused a message, which is stored raw: %(error)s", error=first_line(error)
            )
            return self._store(statements, table, typed=False)

    def _store(self, statements: Statements, table: pa.Table, typed: bool) -> CommitResult:
        """Store a batch in one transaction. Its numbers are taken as soon as it is durable."""
        first = self._last_number + 1
        with statements.batch(table, first):
            with self._transaction(statements.connection):
                statements.run("insert_messages", _INSERT)
                rejected = _type_rows(statements, table, first) if typed else _number(statements.run("refuse", _REFUSE))
            self._last_number += table.num_rows
            drifts = self._drift.detect(statements, table.num_rows, rejected) if typed else ()
        return CommitResult(rejected, drifts)

    def _open(self) -> duckdb.DuckDBPyConnection:
        connection, self._last_number = open_for_writing(self.path, self.archive, self.compacting, self._memory_mb)
        return connection


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
    """Return whether a connection still works: a result that was not read to its end blocks it for ever."""
    try:
        return connection is not None and connection.execute("SELECT 1").fetchall() == [(1,)]
    except (duckdb.Error, MemoryError):
        return False


def _roll_back(connection: duckdb.DuckDBPyConnection) -> bool:
    """Roll back; return whether no transaction is open now."""
    try:
        connection.execute("ROLLBACK")
    except duckdb.TransactionException:
        return True  # an error has already ended it
    except (duckdb.Error, MemoryError):
        return False
    return True
