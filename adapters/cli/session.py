"""The session of one run of the command line: hints on standard error, answers from the database file, reconnecting."""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.cli.notices import hint, warn
from adapters.client.errors import ClientError, DatabaseInUse, Unreachable
from adapters.client.session import START, Session

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from adapters.client.answers import Answer, Source
    from adapters.client.bus import Bus
    from broker.contract.storage.topics import QueryRequest
    from storage.query.sandbox import QueryResult

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_WATCH_S = 0.2
_MAX_BYTES = 1 << 40
"""The file has one reader, so an answer may be larger than the recorder's limits allow."""


def new_session() -> Session:
    """Return a session that writes to standard error, and that may open the database file."""
    return Session(open_file, hint, warn)


@contextmanager
def open_file(path: Path) -> "Iterator[Source]":
    """Open a database file that no recorder has open, read-only, for the time of a `with` block.

    Raises:
        DatabaseInUse: another process has it open.
        Unreachable: it cannot be opened.
    """
    from storage.errors import DatabaseLocked, StorageError
    from storage.query.sandbox import open_read_only

    try:
        connection = open_read_only(path)
    except DatabaseLocked as error:
        raise DatabaseInUse(str(error).rpartition(": ")[0]) from error  # the rest is for a second recorder
    except StorageError as error:
        raise Unreachable(str(error), START) from error
    file = DatabaseFile(connection)
    with closing(file), watching(lambda: recorder_waits(path), file.give_way):
        yield file


def recorder_waits(path: Path) -> bool:
    """Return whether a recorder has locked a database for itself, which it then cannot open while it is read."""
    from storage.database.opening import refuse_beside_writer
    from storage.errors import DatabaseLocked

    try:
        refuse_beside_writer(path.resolve())
    except DatabaseLocked:
        return True
    return False


@contextmanager
def watching(condition: Callable[[], bool], act: Callable[[], None]) -> Generator[None]:
    """Call `act` in a thread as soon as the condition is met, unless the block is left before."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_WATCH_S):
            if condition():
                act()
                return

    thread = threading.Thread(target=watch, name="give-way", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def reconnect(bus: "Bus", subscribe: Callable[[], None], *, resume: bool, pause: Callable[[float], None] = time.sleep) -> bool:
    """Reconnect until it succeeds, with growing pauses; `subscribe` is called on a new session.

    Returns:
        Whether the broker has kept the session, and with it the messages since the connection was lost.
    """
    pause_s = _FIRST_PAUSE_S
    while True:
        pause(pause_s)
        try:
            kept = bus.connect(resume=resume)
            if not kept:
                subscribe()
        except Unreachable:
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        else:
            return kept


class DatabaseFile:
    """Answers queries from a database file, until a recorder needs it."""

    live = False

    def __init__(self, connection: "duckdb.DuckDBPyConnection") -> None:
        self._connection = connection
        self._in_use = threading.Lock()
        self._open, self._waited_for = True, False
        self._reading: set[Generator[pa.RecordBatch]] = set()

    def close(self) -> None:
        """Close the file, and end what is still read from it."""
        with self._in_use:
            self._open = False
            for each in self._reading:
                each.close()
            self._reading.clear()
            self._connection.close()

    def give_way(self) -> None:
        """Interrupt what runs, and close the file for a recorder. Reads from now on are errors."""
        if self._open:
            self._waited_for = True
            self._connection.interrupt()
            self.close()

    def query(self, request: "QueryRequest") -> "Answer":
        """Return the answer when its first rows are here. The request may exceed the recorder's limits on rows and time.

        Raises:
            ClientError: the statement is refused or wrong; also while the rows are read.
        """
        from adapters.client.answers import Answer
        from adapters.client.rows import ArrowRows
        from storage.query.limits import Limits
        from storage.query.sandbox import execute

        usual = Limits()
        limits = Limits(
            max_rows=request.max_rows or usual.max_rows, timeout_s=request.timeout_s or usual.timeout_s, max_bytes=_MAX_BYTES
        )
        with self._lent(request):
            found = execute(self._connection, request, limits)
        answer = Answer(ArrowRows(found.schema, ()))
        answer.rows.source = self._batches(found, answer, request)
        return answer

    def _batches(self, found: "QueryResult", answer: "Answer", request: "QueryRequest") -> "Iterator[pa.RecordBatch]":
        rows = iter(found)
        while True:
            with self._lent(request):
                self._reading.add(rows)
                if (batch := next(rows, None)) is None:
                    self._reading.discard(rows)
                    break
            yield batch
        answer.truncated = found.truncated

    @contextmanager
    def _lent(self, request: "QueryRequest") -> Generator[None]:
        """Use the file for one step of a query.

        Raises:
            Unreachable: a recorder needs it.
            ClientError: the statement is refused or wrong.
        """
        with self._in_use:
            if not self._open:
                raise _given_way()
            try:
                with query_errors(request):
                    yield
            except ClientError:
                if self._waited_for:
                    raise _given_way() from None
                raise


def _given_way() -> Unreachable:
    return Unreachable("a recorder starts and needs the database file", "repeat the command: the recorder answers it")


@contextmanager
def query_errors(request: "QueryRequest") -> Generator[None]:
    """Turn errors of the sandbox into those of the command line."""
    from adapters.client.answers import query_error
    from storage.errors import QueryFailed

    try:
        yield
    except QueryFailed as error:
        raise query_error(error.error, request.sql) from error
