"""Many questions in a row: over one connection to the recorder, or to the database file where no recorder runs."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import click

from adapters.client.answers import Source, arrow_request
from adapters.client.errors import Failed, Refused, WrongUsage
from adapters.client.session import Session

Row = dict[str, Any]
_FILE_TIMEOUT_S = 600.0


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
            ClientError: nobody can answer, or the answer is an error.
        """
        ...


@contextmanager
def asking(session: Session) -> Iterator[Ask]:
    """Ask the recorder, or the database file where no recorder runs.

    Raises:
        Unreachable: neither is there.
    """
    with session.source() as source:
        yield _Asking(source)


class _Asking:
    def __init__(self, source: Source) -> None:
        self._source, self.live = source, source.live

    def __call__(self, sql: str, **parameters: Any) -> list[Row]:
        request = arrow_request(sql, parameters, timeout_s=None if self.live else _FILE_TIMEOUT_S)
        try:
            return self._source.query(request).all_rows()
        except WrongUsage as error:  # the SQL is ours: what it reads is not what it should be
            reason = error.message.partition("\n")[0]
            raise Failed(
                f"the recorded data cannot be read: {reason}", "see whether files of the archive are damaged"
            ) from error


def in_pieces(ask: Ask, sql: str, low: int, high: int, **parameters: Any) -> Iterator[Row]:
    """Ask about the numbers from `$low` to `$high`; what is beyond a limit is asked in two halves.

    Raises:
        Refused: even one message is beyond a limit, or the recorder answers nobody.
        ClientError: nobody can answer, or the answer is an error.
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
