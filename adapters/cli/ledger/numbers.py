"""The database's own numbers of messages: each occurs once, except those that expired."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from adapters.cli.ledger import sql
from adapters.cli.ledger.balance import Balance, expired_text, joined, listed
from adapters.cli.ledger.ledger import LedgerWindow
from adapters.cli.ledger.queries import LedgerQueries
from adapters.cli.ledger.sequence import Expired, FindingKind, SequenceFinding


@dataclass(slots=True)
class Numbers:
    """The numbers of messages found so far, piece by piece in ascending order."""

    low: int
    rows: int = 0
    numbers: int = 0
    holes: list[SequenceFinding] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    _last: int = 0
    _last_at: datetime | None = None

    def __post_init__(self) -> None:
        self._last = self.low - 1

    def add(self, row: dict[str, Any]) -> bool:
        """Add a row of `sql.NUMBERS`; return whether numbers are missing inside it."""
        if not row["rows"]:
            return False
        self._hole(row["first"], row["first_at"])
        self.rows += row["rows"]
        self.numbers += row["numbers"]
        self._last, self._last_at = row["last"], row["last_at"]
        return bool(row["numbers"] < row["last"] - row["first"] + 1)

    def end(self, high: int) -> None:
        """Add the hole after the last number, if there is one."""
        self._hole(high + 1, None)

    def _hole(self, until: int, until_at: datetime | None) -> None:
        if until > self._last + 1:
            self.holes.append(_hole(self._last + 1, until - 1, self._last_at, until_at))


def read_numbers(queries: LedgerQueries, numbers: Numbers, low: int, high: int) -> None:
    """Add a piece of the window, and find missing and doubled numbers in it.

    Raises:
        ClientError: the source cannot answer.
    """
    for row in queries.in_pieces(sql.NUMBERS, low, high):
        if numbers.add(row):
            found = queries.in_pieces(sql.HOLES, row["first"], row["last"])
            numbers.holes += [_hole(each["first"], each["last"], each["after_at"], each["before_at"]) for each in found]
        if row["rows"] > row["numbers"]:
            numbers.twice += [each["number"] for each in queries.in_pieces(sql.TWICE, row["first"], row["last"])]


@dataclass(frozen=True, slots=True)
class AllExpired:
    """The least and largest number of messages in the window that expired, and the days of their arrival."""

    least: int = 0
    most: int = 0
    days: Expired | None = None

    def explains(self, hole: SequenceFinding) -> bool:
        """Return whether expired messages can have been there."""
        return self.days is not None and self.days.may_explain(hole)


def all_expired(queries: LedgerQueries, chosen: LedgerWindow) -> AllExpired:
    """Count the expired messages. For the first day of the window, it is not known which of them were before the window.

    Raises:
        ClientError: the source cannot answer.
    """
    found = queries.rows(sql.EXPIRED, since=chosen.since)
    if not found:
        return AllExpired()
    most = sum(row["messages"] for row in found)
    days = Expired(most, min(row["first_day"] for row in found), max(row["last_day"] for row in found))
    return AllExpired(most if chosen.since_at is None else 0, most, days)


def messages_balance(chosen: LedgerWindow, numbers: Numbers, expired: AllExpired) -> Balance:
    """Return the balance: numbers in the window = numbers in `messages` + expired + missing."""
    expected = chosen.high - chosen.low + 1
    absent = expected - numbers.numbers
    holes = sorted((hole for hole in numbers.holes if not expired.explains(hole)), key=lambda hole: hole.first)
    certain = sum(hole.count for hole in holes)
    missing = max(absent - expired.most, certain)
    unexpired = max(expired.least - (absent - missing), 0)
    surplus = numbers.rows - numbers.numbers + unexpired
    texts = (
        f"no message {_ranges(holes)}" if holes else "",
        _more(missing - certain, expired),
        f"more than once {listed(numbers.twice, numbers.rows - numbers.numbers)}" if numbers.twice else "",
        f"{unexpired:,} are present that had expired" if unexpired else "",
        "changed by hand, or a damaged file: restore a copy" if missing or surplus else "",
        expired_text(absent - missing),
    )
    return Balance(
        check="numbers",
        name="messages",
        expected=expected,
        found=numbers.numbers,
        expired=absent - missing,
        missing=missing,
        surplus=surplus,
        means=joined(*texts),
    )


def _more(count: int, expired: AllExpired) -> str:
    where = " on days of which others expired" if expired.most else ""
    return f"{count:,} more are missing{where}" if count else ""


def _hole(first: int, last: int, after_at: datetime | None, before_at: datetime | None) -> SequenceFinding:
    return SequenceFinding(FindingKind.MISSING, first, last, last - first + 1, after_at, before_at)


def _ranges(holes: list[SequenceFinding]) -> str:
    return listed([str(hole.first) if hole.first == hole.last else f"{hole.first} to {hole.last}" for hole in holes])
