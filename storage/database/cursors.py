"""Connections of the threads beside the writer: one cursor for each query, so that all can be stopped or waited for."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import duckdb

from broker.log import Log
from storage.errors import StorageError, first_line

log = Log(__name__)

_NICENESS = 15
"""With 4 heavy queries and 20,000 messages/s on two busy cores, 5,900/s were committed without this."""


class Cursors:
    """Lends cursors of a connection. All methods are thread-safe."""

    def __init__(self) -> None:
        self._lent: set[duckdb.DuckDBPyConnection] = set()
        self._changed = threading.Condition()
        self._held = False

    @contextmanager
    def lend(
        self, connection: Callable[[], duckdb.DuckDBPyConnection | None], timeout_s: float
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a cursor of the current connection for one query; while new queries are `held` back, wait up to `timeout_s`.

        Raises:
            StorageError: there is no connection, or it gives no cursor.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._held, timeout_s)
            if (parent := connection()) is None:
                raise StorageError("the database is not open: see the recorder's log for the reason")
            try:
                cursor = parent.cursor()
            except duckdb.Error as error:
                raise StorageError(f"the database failed: {first_line(error)}") from error
            self._lent.add(cursor)
        try:
            yield cursor
        finally:
            close_connection(cursor)
            with self._changed:
                self._lent.discard(cursor)
                self._changed.notify_all()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold new queries back until the block is left."""
        with self._changed:
            self._held = True
        try:
            yield
        finally:
            with self._changed:
                self._held = False
                self._changed.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Wait until every query that runs now has ended; return whether all did in time."""
        with self._changed:
            running = set(self._lent)
            return self._changed.wait_for(lambda: not running & self._lent, timeout_s)

    def interrupt(self, timeout_s: float) -> bool:
        """Interrupt every query; return whether all ended in time."""
        with self._changed:
            for cursor in self._lent:
                _interrupt(cursor)
            return self._changed.wait_for(lambda: not self._lent, timeout_s)


def close_connection(connection: duckdb.DuckDBPyConnection) -> None:
    """Close a connection or cursor; log an error in doing so."""
    try:
        connection.close()
    except duckdb.Error as error:
        log.warning("close-failed", "while closing: %(error)s", error=first_line(error))


def lower_priority() -> None:
    """Lower the priority of the calling thread, so that recording goes first. Only Linux has one for each thread.

    DuckDB works in the calling thread, and in threads of its own beside it.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _interrupt(connection: duckdb.DuckDBPyConnection) -> None:
    try:
        connection.interrupt()
    except duckdb.Error:
        log.debug("nothing-interrupted", "nothing to interrupt")
