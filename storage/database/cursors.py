"""The cursors that queries have at the moment: one each, so that all of them can be stopped or waited for."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import duckdb

from storage.database.files import first_line
from storage.errors import StorageError

log = logging.getLogger(__name__)


class Cursors:
    """Lends cursors of a connection. Any thread may call anything."""

    def __init__(self) -> None:
        self._lent: set[duckdb.DuckDBPyConnection] = set()
        self._changed = threading.Condition()
        self._held = False

    @contextmanager
    def lend(
        self, connection: Callable[[], duckdb.DuckDBPyConnection | None], patience_s: float
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a cursor of the present connection for one query; while new ones are `held` back, wait for so long.

        Raises:
            StorageError: there is no connection, or it gives none.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._held, patience_s)
            if (parent := connection()) is None:
                raise StorageError("the database is not open: the recorder's log says why")
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

    def ended(self, patience_s: float) -> bool:
        """Wait until every query that runs now has ended; tell whether they did."""
        with self._changed:
            running = set(self._lent)
            return self._changed.wait_for(lambda: not running & self._lent, patience_s)

    def interrupt(self, patience_s: float) -> bool:
        """Interrupt every query; tell whether all of them ended in time."""
        with self._changed:
            for cursor in self._lent:
                _interrupt(cursor)
            return self._changed.wait_for(lambda: not self._lent, patience_s)


def close_connection(connection: duckdb.DuckDBPyConnection) -> None:
    """Close a connection or cursor; an error of that is only logged."""
    try:
        connection.close()
    except duckdb.Error as error:
        log.warning("while closing: %s", first_line(error))


def _interrupt(connection: duckdb.DuckDBPyConnection) -> None:
    try:
        connection.interrupt()
    except duckdb.Error:
        log.debug("nothing to interrupt")
