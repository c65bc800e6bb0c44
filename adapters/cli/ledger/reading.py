"""The ledger: what publishers say they sent against what is recorded, piece by piece, up to one message number."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from adapters.cli.ledger import sql
from adapters.cli.ledger.asking import Ask, Started, in_pieces
from adapters.cli.ledger.book import Book, Expired, Finding, Run
from adapters.client.errors import Failed

PIECE = 1_000_000
"""Messages of one question: it has to fit into the recorder's limits while it records."""
_SETTLE_S, _SETTLE_TRIES = 0.5, 4
"""A message may still be on its way behind one that overtook it: how long to wait for it, and how often."""
_CHANGES_TRIES = 3

Publisher = tuple[str, str]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Window:
    """The messages that are looked at: numbers `low` to `high`, those received since `since_at` where that is given."""

    low: int
    high: int
    pieces: tuple[tuple[int, int], ...]
    start_at: datetime | None
    since_at: datetime | None = None

    @property
    def since(self) -> str | None:
        """The beginning, as a parameter of SQL."""
        return None if self.since_at is None else self.since_at.astimezone(UTC).isoformat()


@dataclass(slots=True)
class Ledger:
    """The books of all publishers that were heard of, and what of theirs has expired."""

    window: Window
    books: dict[Publisher, Book] = field(default_factory=dict)
    expired: dict[Publisher, Expired] = field(default_factory=dict)

    def add(self, row: dict[str, Any]) -> None:
        """Enter a row of `ledger_sql.RUNS`."""
        self._book(row).add(_run(row))

    def findings(self) -> Iterator[tuple[Book, list[Finding]]]:
        """Return every book with what there is to say, in the order of source and boot."""
        for publisher, book in sorted(self.books.items()):
            yield book, book.findings(self.window.start_at, self.expired.get(publisher))

    def settle(self, row: dict[str, Any]) -> None:
        """Enter a row about messages that arrived after the window."""
        if (book := self.books.get(_publisher(row))) is not None:
            book.settle(_run(row))

    def newest_hole_at(self) -> datetime | None:
        """Return when the last message after a hole was recorded."""
        ends = (hole.before_at for book in self.books.values() for hole in book.holes() if hole.before_at is not None)
        return max(ends, default=None)

    def _book(self, row: dict[str, Any]) -> Book:
        publisher = _publisher(row)
        if publisher not in self.books:
            self.books[publisher] = Book(*publisher)
        return self.books[publisher]


def window(ask: Ask, since_at: datetime | None, typed: tuple[str, ...] = ()) -> Window:
    """Choose what to look at: all that is recorded by now. What arrives later does not matter.

    Raises:
        ClientError: nobody can answer.
    """
    since = None if since_at is None else since_at.astimezone(UTC).isoformat()
    others = " ".join(sql.TYPED_NUMBERS.format(table=name) for name in typed)
    (bounds,) = ask(sql.BOUNDS.format(typed=others), since=since)
    high = int(bounds["high"])
    low = 1 if since_at is None else int(bounds["low"] or high + 1)
    return Window(low, high, _pieces(ask, low, high, typed), bounds["start_at"], since_at)


def _pieces(ask: Ask, low: int, high: int, typed: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Return the ranges of numbers that have rows: a number written by hand may be far away from the others."""
    numbers = " UNION ALL ".join(f"SELECT number FROM {name}" for name in ("messages", *typed))  # noqa: S608 - declared names
    found = ask(sql.PIECES.format(size=PIECE, numbers=numbers), low=low, high=high)
    starts = (int(each["piece"]) * PIECE for each in found)
    return tuple((max(low, start), min(high, start + PIECE - 1)) for start in starts)


def open_ledger(ask: Ask, chosen: Window, source: str | None = None) -> Ledger:
    """Begin the books: what has expired, and what was heard of each publisher before the window.

    Raises:
        ClientError: nobody can answer.
    """
    ledger = Ledger(chosen)
    for row in ask(sql.EXPIRED, since=chosen.since):
        if row["source"] is not None and row["boot"] is not None:
            ledger.expired[_publisher(row)] = Expired(row["messages"], row["first_day"], row["last_day"])
    if chosen.since_at is not None:
        for row in ask(sql.EARLIER, low=chosen.low, high=chosen.high):
            if source in (None, row["source"]):
                ledger.books[_publisher(row)] = _continued(ask, chosen, row)
    return ledger


def _continued(ask: Ask, chosen: Window, row: dict[str, Any]) -> Book:
    """Begin a book in the middle; where messages before the window overlap with it in number, they are known to it."""
    book = Book(row["source"], row["boot"], floor=min(row["known"], row["least"] - 1))
    if row["known"] >= row["least"]:
        only = "AND source = $source AND boot = $boot AND seq >= $least"
        earlier = runs(ask, 1, chosen.low - 1, only, source=row["source"], boot=row["boot"], least=row["least"])
        for each in earlier:
            book.remember(_run(each))
    return book


def read_ledger(ask: Ask, source: str | None, since_at: datetime | None, started: Started) -> Ledger:
    """Return the complete books of all publishers, or of one.

    Raises:
        ClientError: nobody can answer.
    """
    return unchanged(ask, lambda: _read_ledger(ask, source, since_at, started))


def _read_ledger(ask: Ask, source: str | None, since_at: datetime | None, started: Started) -> Ledger:
    chosen = window(ask, since_at)
    step = started(len(chosen.pieces))
    ledger = open_ledger(ask, chosen, source)
    for low, high in chosen.pieces:
        read_books(ask, ledger, low, high, source)
        step()
    settle(ask, ledger, source)
    return ledger


def read_books(ask: Ask, ledger: Ledger, low: int, high: int, source: str | None = None) -> None:
    """Enter a piece of the window.

    Raises:
        ClientError: nobody can answer.
    """
    for row in _runs_of(ask, low, high, source):
        ledger.add(row)


def settle(ask: Ask, ledger: Ledger, source: str | None = None) -> None:
    """Look for what fills holes after the window, and wait a moment for what may still be on its way.

    Raises:
        ClientError: nobody can answer.
    """
    low = ledger.window.high + 1
    for attempt in range(_SETTLE_TRIES):
        if (hole_at := ledger.newest_hole_at()) is None:
            return
        (tail,) = ask(sql.TAIL)
        for row in _runs_of(ask, low, tail["high"], source):
            ledger.settle(row)
        low = max(low, tail["high"] + 1)
        if not ask.live or hole_at < tail["at"] - timedelta(seconds=_SETTLE_S * _SETTLE_TRIES):
            return
        if attempt < _SETTLE_TRIES - 1:
            time.sleep(_SETTLE_S)


def unchanged(ask: Ask, work: Callable[[], T]) -> T:
    """Do something while the archive and the retention policy change nothing; again where they did.

    Raises:
        Failed: they change something all the time, or the database is of a release whose messages have no numbers.
        ClientError: nobody can answer.
    """
    if not ask(sql.HAS_NUMBERS)[0]["found"]:
        raise Failed("the database was written by an earlier release", "start the recorder once: it upgrades the database")
    for _ in range(_CHANGES_TRIES):
        before = ask(sql.WITNESS)
        done = work()
        if ask(sql.WITNESS) == before:
            return done
    raise Failed("messages are moved to the archive or expire at this moment", "ask again in a few minutes")


def runs(ask: Ask, low: int, high: int, condition: str = "", **parameters: Any) -> Iterator[dict[str, Any]]:
    """Return runs of messages, in the order of their arrival for each publisher.

    Raises:
        ClientError: nobody can answer.
    """
    if low <= high:
        yield from in_pieces(ask, sql.RUNS.replace("{condition}", condition), low, high, **parameters)


def _runs_of(ask: Ask, low: int, high: int, source: str | None) -> Iterator[dict[str, Any]]:
    if source is None:
        return runs(ask, low, high)
    return runs(ask, low, high, "AND source = $source", source=source)


def _publisher(row: dict[str, Any]) -> Publisher:
    return row["source"], row["boot"]


def _run(row: dict[str, Any]) -> Run:
    return Run(row["first"], row["last"], row["first_at"], row["last_at"], row["last_retained"])
