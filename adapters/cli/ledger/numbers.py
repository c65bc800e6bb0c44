"""The database's own count of messages: every number once, but for those that expired."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from adapters.cli.ledger import sql
from adapters.cli.ledger.asking import Ask, in_pieces
from adapters.cli.ledger.book import Expired, Finding, Kind
from adapters.cli.ledger.line import Line, expired, listed, said
from adapters.cli.ledger.reading import Window


@dataclass(slots=True)
class Numbers:
    """What was seen of the numbers of messages, piece by piece in their order."""

    low: int
    rows: int = 0
    numbers: int = 0
    holes: list[Finding] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    _last: int = 0
    _last_at: datetime | None = None

    def __post_init__(self) -> None:
        self._last = self.low - 1

    def add(self, row: dict[str, Any]) -> bool:
        """Add a row of `ledger_sql.NUMBERS`; tell whether numbers are missing inside it."""
        if not row["rows"]:
            return False
        self._hole(row["first"], row["first_at"])
        self.rows += row["rows"]
        self.numbers += row["numbers"]
        self._last, self._last_at = row["last"], row["last_at"]
        return bool(row["numbers"] < row["last"] - row["first"] + 1)

    def end(self, high: int) -> None:
        """Close the last hole."""
        self._hole(high + 1, None)

    def _hole(self, until: int, until_at: datetime | None) -> None:
        if until > self._last + 1:
            self.holes.append(_hole(self._last + 1, until - 1, self._last_at, until_at))


def read_numbers(ask: Ask, numbers: Numbers, low: int, high: int) -> None:
    """Add a piece of the window, and look for what is missing or twice in it.

    Raises:
        ClientError: nobody can answer.
    """
    for row in in_pieces(ask, sql.NUMBERS, low, high):
        if numbers.add(row):
            found = in_pieces(ask, sql.HOLES, row["first"], row["last"])
            numbers.holes += [_hole(each["first"], each["last"], each["after_at"], each["before_at"]) for each in found]
        if row["rows"] > row["numbers"]:
            numbers.twice += [each["number"] for each in in_pieces(ask, sql.TWICE, row["first"], row["last"])]


@dataclass(frozen=True, slots=True)
class AllExpired:
    """How many messages of the window expired, at least and at most, and when they had arrived."""

    least: int = 0
    most: int = 0
    days: Expired | None = None

    def explains(self, hole: Finding) -> bool:
        """Tell whether what expired can have been there."""
        return self.days is not None and self.days.may_explain(hole)


def all_expired(ask: Ask, chosen: Window) -> AllExpired:
    """Count what expired. Of the day on which the window begins, it is not known what was before it.

    Raises:
        ClientError: nobody can answer.
    """
    found = ask(sql.EXPIRED, since=chosen.since)
    if not found:
        return AllExpired()
    most = sum(row["messages"] for row in found)
    days = Expired(most, min(row["first_day"] for row in found), max(row["last_day"] for row in found))
    return AllExpired(most if chosen.since_at is None else 0, most, days)


def messages_line(chosen: Window, numbers: Numbers, gone: AllExpired) -> Line:
    """Return the balance: numbers in the window = numbers in `messages` + expired + missing."""
    expected = chosen.high - chosen.low + 1
    absent = expected - numbers.numbers
    holes = sorted((hole for hole in numbers.holes if not gone.explains(hole)), key=lambda hole: hole.first)
    certain = sum(hole.count for hole in holes)
    missing = max(absent - gone.most, certain)
    unexpired = max(gone.least - (absent - missing), 0)
    surplus = numbers.rows - numbers.numbers + unexpired
    texts = (
        f"no message {_ranges(holes)}" if holes else "",
        _more(missing - certain, gone),
        f"more than once {listed(numbers.twice, numbers.rows - numbers.numbers)}" if numbers.twice else "",
        f"{unexpired:,} are there that had expired" if unexpired else "",
        "changed by hand, or a damaged file: restore a copy" if missing or surplus else "",
        expired(absent - missing),
    )
    return Line(
        check="numbers",
        name="messages",
        expected=expected,
        found=numbers.numbers,
        expired=absent - missing,
        missing=missing,
        surplus=surplus,
        means=said(*texts),
    )


def _more(count: int, gone: AllExpired) -> str:
    where = " in days of which others expired" if gone.most else ""
    return f"{count:,} more are gone{where}" if count else ""


def _hole(first: int, last: int, after_at: datetime | None, before_at: datetime | None) -> Finding:
    return Finding(Kind.MISSING, first, last, last - first + 1, after_at, before_at)


def _ranges(holes: list[Finding]) -> str:
    return listed([str(hole.first) if hole.first == hole.last else f"{hole.first} to {hole.last}" for hole in holes])
