"""The session of one run of the command line: hints on standard error, answers from the database file, reconnecting."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.cli.notices import hint, warn
from adapters.client.errors import DatabaseInUse, Unreachable
from adapters.client.session import START, Session

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from adapters.client.answers import Answer, Source
    from adapters.client.bus import Bus
    from broker.contract.storage.topics import QueryRequest
    from storage.query.sandbox import QueryResult

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
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
    with closing(connection):
        yield DatabaseFile(connection)


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
    """Answers queries from a database file."""

    live = False

    def __init__(self, connection: "duckdb.DuckDBPyConnection") -> None:
        self._connection = connection

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
        with _query_errors(request):
            found = execute(self._connection, request, limits)
        answer = Answer(ArrowRows(found.schema, ()))
        answer.rows.source = _batches(found, answer, request)
        return answer


def _batches(found: "QueryResult", answer: "Answer", request: "QueryRequest") -> "Iterator[pa.RecordBatch]":
    with _query_errors(request):
        yield from found
    answer.truncated = found.truncated


@contextmanager
def _query_errors(request: "QueryRequest") -> Generator[None]:
    from adapters.client.answers import query_error
    from storage.errors import QueryFailed

    try:
        yield
    except QueryFailed as error:
        raise query_error(error.error, request.sql) from error
