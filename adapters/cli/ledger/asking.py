"""Many questions in a row: over one connection to the recorder, or to the database file where no recorder runs."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any, Protocol

import click

from adapters.client.answers import arrow_request, from_recorder
from adapters.client.errors import Failed, Refused, Unreachable, WrongUsage
from adapters.client.recorder import query_error
from adapters.client.session import Session
from broker.contract.storage.topics import QueryRequest

Row = dict[str, Any]
_FILE_TIMEOUT_S = 600.0
_MOST_ROWS = 1_000_000


Started = Callable[[int], Callable[[], None]]
"""Is told how many steps there are, and gives what is to be called after each."""


class Ask(Protocol):
    """Answers one question with all its rows; `live` tells whether messages may arrive meanwhile."""

    live: bool

    def __call__(self, sql: str, **parameters: Any) -> list[Row]:
        """Return the rows.

        Raises:
            Refused: the answer is beyond a limit of whoever answers.
            Failed: the database or its archive is not as it should be.
            CommandError: nobody can answer, or the answer is an error.
        """
        ...


@contextmanager
def asking(session: Session) -> Iterator[Ask]:
    """Ask the recorder, or the database file where no recorder runs.

    Raises:
        Unreachable: neither is there.
    """
    with ExitStack() as stack:
        try:
            bus = stack.enter_context(session.recording_bus())
        except Unreachable as away:
            connection = stack.enter_context(closing(session.open_file(away)))
            yield _Asking(lambda request: _from_file(connection, request), live=False)
        else:
            yield _Asking(lambda request: _of(from_recorder(bus, request)), live=True)


class _Asking:
    def __init__(self, answer: "Callable[[QueryRequest], tuple[Any, Callable[[], bool]]]", live: bool) -> None:
        self._answer, self.live = answer, live

    def __call__(self, sql: str, **parameters: Any) -> list[Row]:
        try:
            rows, truncated = self._answer(arrow_request(sql, parameters, None, None))
            found = [dict(zip(rows.columns, row, strict=True)) for row in rows.rows()]
        except WrongUsage as error:  # the SQL is ours: what it reads is not what it should be
            reason = error.message.partition("\n")[0]
            raise Failed(
                f"the recorded data cannot be read: {reason}", "see whether files of the archive are damaged"
            ) from error
        if truncated():
            raise Refused(f"the answer has more than {len(found):,} rows", "narrow it with --since")
        return found


def _of(answer: Any) -> tuple[Any, Callable[[], bool]]:
    return answer.rows, lambda: answer.truncated


def _from_file(connection: Any, request: QueryRequest) -> tuple[Any, Callable[[], bool]]:
    from adapters.client.rows import ArrowRows
    from storage.errors import QueryFailed
    from storage.query.limits import Limits
    from storage.query.sandbox import execute

    limits = Limits(max_rows=_MOST_ROWS, max_bytes=1 << 40, timeout_s=_FILE_TIMEOUT_S)
    try:
        found = execute(connection, request, limits)
        rows = ArrowRows(found.schema, list(found))
    except QueryFailed as error:
        raise query_error(error.error, request.sql) from error
    return rows, lambda: found.truncated


def in_pieces(ask: Ask, sql: str, low: int, high: int, **parameters: Any) -> Iterator[Row]:
    """Ask about the numbers from `$low` to `$high`; what is beyond a limit is asked in two halves.

    Raises:
        Refused: even one message is beyond a limit, or the recorder answers nobody.
        CommandError: nobody can answer, or the answer is an error.
    """
    try:
        found = ask(sql, low=low, high=high, **parameters)
    except Refused:
        if low >= high:
            raise
        middle = (low + high) // 2
        yield from in_pieces(ask, sql, low, middle, **parameters)
        yield from in_pieces(ask, sql, middle + 1, high, **parameters)
    else:
        yield from found


@contextmanager
def progress(label: str) -> Iterator[Started]:
    """Show a progress bar on standard error, where that is a terminal."""
    with ExitStack() as stack:

        def started(steps: int) -> Callable[[], None]:
            if not sys.stderr.isatty():
                return lambda: None
            bar = stack.enter_context(click.progressbar(length=max(steps, 1), label=label, file=sys.stderr))
            return lambda: bar.update(1)

        yield started
