"""The ledger: the numbers of all publishers against the recorded messages, piece by piece, up to one message number."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from adapters.cli.ledger import sql
from adapters.cli.ledger.claims import claimed_sql
from adapters.cli.ledger.queries import LedgerQueries
from adapters.cli.ledger.sequence import Expired, NumberRun, PublisherSequence, SequenceFinding
from adapters.cli.output.progress import StartSteps
from adapters.client.errors import Failed

PIECE = 1_000_000
"""Messages per query: it has to stay within the recorder's limits while it records."""
_SETTLE_S, _SETTLE_TRIES = 0.5, 4
"""Interval and number of waits for a message that a later one has overtaken."""
_CHANGES_TRIES = 3

Publisher = tuple[str, str]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LedgerWindow:
    """The messages to examine: numbers `low` to `high`, received since `since_at` where that is given."""

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
    """The sequences of all recorded publishers, and their expired messages.

    `sequences` has the numbers that are proven, those of stamps that are no claims; a claimed number fills a hole of it.
    `stated` has all numbers, claimed ones too; where there are such, its findings are worth to show, and prove nothing.
    """

    window: LedgerWindow
    sequences: dict[Publisher, PublisherSequence] = field(default_factory=dict)
    stated: dict[Publisher, PublisherSequence] = field(default_factory=dict)
    expired: dict[Publisher, Expired] = field(default_factory=dict)

    def add(self, row: dict[str, Any]) -> None:
        """Add a row of `sql.RUNS`."""
        publisher, run = _publisher(row), _run(row)
        proven, stated = self._of(self.sequences, publisher), self._of(self.stated, publisher)
        stated.add(run)
        if row["claimed"]:
            stated.claimed = True
            proven.add_claimed(run)
        else:
            proven.add(run)

    def findings(self) -> Iterator[tuple[PublisherSequence, list[SequenceFinding]]]:
        """Yield every sequence of proven numbers with its findings, in the order of source and boot."""
        for publisher, sequence in sorted(self.sequences.items()):
            if not sequence.empty:
                yield sequence, self._findings(publisher, sequence)

    def claims(self) -> Iterator[tuple[PublisherSequence, list[SequenceFinding]]]:
        """Yield every sequence with claimed numbers, and what would be its findings if the claims were true."""
        for publisher, sequence in sorted(self.stated.items()):
            if sequence.claimed:
                yield sequence, self._findings(publisher, sequence)

    def add_later(self, row: dict[str, Any]) -> None:
        """Add a row about messages that arrived after the window."""
        publisher, run = _publisher(row), _run(row)
        if (stated := self.stated.get(publisher)) is not None:
            stated.add_later(run)
        if (proven := self.sequences.get(publisher)) is not None:
            if row["claimed"]:
                proven.add_claimed(run)
            else:
                proven.add_later(run)

    def newest_hole_at(self) -> datetime | None:
        """Return when the message after the newest hole was recorded."""
        ends = (hole.before_at for each in self.sequences.values() for hole in each.holes() if hole.before_at is not None)
        return max(ends, default=None)

    def _findings(self, publisher: Publisher, sequence: PublisherSequence) -> list[SequenceFinding]:
        return sequence.findings(self.window.start_at, self.expired.get(publisher))

    def _of(self, sequences: dict[Publisher, PublisherSequence], publisher: Publisher) -> PublisherSequence:
        if publisher not in sequences:
            sequences[publisher] = PublisherSequence(*publisher)
        return sequences[publisher]


def window(queries: LedgerQueries, since_at: datetime | None, typed: tuple[str, ...] = ()) -> LedgerWindow:
    """Choose the messages to examine: all that are recorded by now, without later ones.

    Raises:
        ClientError: the source cannot answer.
    """
    since = None if since_at is None else since_at.astimezone(UTC).isoformat()
    others = " ".join(sql.TYPED_NUMBERS.format(table=name) for name in typed)
    (bounds,) = queries.rows(sql.BOUNDS.format(typed=others), since=since)
    high = int(bounds["high"])
    low = 1 if since_at is None else int(bounds["low"] or high + 1)
    return LedgerWindow(low, high, _pieces(queries, low, high, typed), bounds["start_at"], since_at)


def _pieces(queries: LedgerQueries, low: int, high: int, typed: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Return the ranges of numbers that have rows: a number written by hand may be far from the others."""
    numbers = " UNION ALL ".join(f"SELECT number FROM {name}" for name in ("messages", *typed))  # noqa: S608 - declared names
    found = queries.rows(sql.PIECES.format(size=PIECE, numbers=numbers), low=low, high=high)
    starts = (int(each["piece"]) * PIECE for each in found)
    return tuple((max(low, start), min(high, start + PIECE - 1)) for start in starts)


def open_ledger(queries: LedgerQueries, chosen: LedgerWindow, source: str | None = None) -> Ledger:
    """Begin the sequences with the expired messages, and with those of each publisher before the window.

    Raises:
        ClientError: the source cannot answer.
    """
    ledger = Ledger(chosen)
    for row in queries.rows(sql.EXPIRED, since=chosen.since):
        if row["source"] is not None and row["boot"] is not None:
            ledger.expired[_publisher(row)] = Expired(row["messages"], row["first_day"], row["last_day"])
    if chosen.since_at is not None:
        for row in queries.rows(_with_claims(sql.EARLIER), low=chosen.low, high=chosen.high):
            if source in (None, row["source"]):
                ledger.stated[_publisher(row)] = _continued(queries, chosen, row, row["least"])
                if row["least_proven"] is not None:
                    proven = _continued(queries, chosen, row, row["least_proven"], claims=False)
                    ledger.sequences[_publisher(row)] = proven
    return ledger


def _continued(
    queries: LedgerQueries, chosen: LedgerWindow, row: dict[str, Any], least: int, claims: bool = True
) -> PublisherSequence:
    """Begin a sequence in the middle; include messages before the window whose numbers overlap with it.

    Args:
        queries: to the recording.
        chosen: the window.
        row: of `sql.EARLIER`.
        least: the lowest number of the sequence in the window.
        claims: whether claimed numbers count like others.
    """
    sequence = PublisherSequence(row["source"], row["boot"], floor=min(row["known"], least - 1))
    if row["known"] >= least:
        only = "AND source = $source AND boot = $boot AND seq >= $least"
        for each in runs(queries, 1, chosen.low - 1, only, source=row["source"], boot=row["boot"], least=least):
            if each["claimed"] and not claims:
                sequence.add_claimed(_run(each))
            else:
                sequence.add_earlier(_run(each))
    return sequence


def read_ledger(queries: LedgerQueries, source: str | None, since_at: datetime | None, start_steps: StartSteps) -> Ledger:
    """Return the complete sequences of all publishers, or of one.

    Raises:
        ClientError: the source cannot answer.
    """
    return unchanged(queries, lambda: _read_ledger(queries, source, since_at, start_steps))


def _read_ledger(queries: LedgerQueries, source: str | None, since_at: datetime | None, start_steps: StartSteps) -> Ledger:
    chosen = window(queries, since_at)
    step = start_steps(len(chosen.pieces))
    ledger = open_ledger(queries, chosen, source)
    for low, high in chosen.pieces:
        read_runs(queries, ledger, low, high, source)
        step()
    settle(queries, ledger, source)
    return ledger


def read_runs(queries: LedgerQueries, ledger: Ledger, low: int, high: int, source: str | None = None) -> None:
    """Add a piece of the window.

    Raises:
        ClientError: the source cannot answer.
    """
    for row in _runs_of(queries, low, high, source):
        ledger.add(row)


def settle(queries: LedgerQueries, ledger: Ledger, source: str | None = None) -> None:
    """Find messages after the window that fill holes, and wait briefly for those still on their way.

    Raises:
        ClientError: the source cannot answer.
    """
    low = ledger.window.high + 1
    for attempt in range(_SETTLE_TRIES):
        if (hole_at := ledger.newest_hole_at()) is None:
            return
        (tail,) = queries.rows(sql.TAIL)
        for row in _runs_of(queries, low, tail["high"], source):
            ledger.add_later(row)
        low = max(low, tail["high"] + 1)
        if not queries.live or hole_at < tail["at"] - timedelta(seconds=_SETTLE_S * _SETTLE_TRIES):
            return
        if attempt < _SETTLE_TRIES - 1:
            time.sleep(_SETTLE_S)


def unchanged(queries: LedgerQueries, work: Callable[[], T]) -> T:
    """Do some work while the archive and the retention policy change nothing; repeat it if they did.

    Raises:
        Failed: they keep changing something, or the database is of a release whose messages have no numbers.
        ClientError: the source cannot answer.
    """
    if not queries.rows(sql.HAS_NUMBERS)[0]["found"]:
        raise Failed("the database was written by an earlier release", "start the recorder once: it upgrades the database")
    for _ in range(_CHANGES_TRIES):
        before = queries.rows(sql.WITNESS)
        done = work()
        if queries.rows(sql.WITNESS) == before:
            return done
    raise Failed("messages are being moved to the archive or are expiring", "repeat the command in a few minutes")


def runs(queries: LedgerQueries, low: int, high: int, condition: str = "", **parameters: Any) -> Iterator[dict[str, Any]]:
    """Yield runs of messages, in the order of their arrival for each publisher.

    Raises:
        ClientError: the source cannot answer.
    """
    if low <= high:
        yield from queries.in_pieces(_with_claims(sql.RUNS).replace("{condition}", condition), low, high, **parameters)


def _runs_of(queries: LedgerQueries, low: int, high: int, source: str | None) -> Iterator[dict[str, Any]]:
    if source is None:
        return runs(queries, low, high)
    return runs(queries, low, high, "AND source = $source", source=source)


def _with_claims(statement: str) -> str:
    return statement.replace("{claimed}", claimed_sql())


def _publisher(row: dict[str, Any]) -> Publisher:
    return row["source"], row["boot"]


def _run(row: dict[str, Any]) -> NumberRun:
    return NumberRun(row["first"], row["last"], row["first_at"], row["last_at"], row["last_retained"])
