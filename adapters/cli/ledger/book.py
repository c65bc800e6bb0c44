"""The books of the ledger: what was recorded of each start of a publisher, from runs of consecutive numbers. No I/O.

A publisher numbers what it publishes 1, 2, 3…, so the recorded messages of one start, in the order of their arrival, are a few
long runs. From these alone follows what is missing, what came twice, and what came late.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import Enum

FIRST_S = 60
"""What was first heard of in the first minute of the recording may have published before it."""
RETAINED_S = 5
"""Within this time the broker has handed out the retained messages of before the recording."""


class Kind(Enum):
    """What can be said of some numbers of a publisher."""

    MISSING = "missing"
    DOUBLED = "doubled"
    LATE = "late"
    BEFORE = "before the recording"


@dataclass(frozen=True, slots=True)
class Run:
    """Messages of one start that were recorded one after the other with consecutive numbers."""

    first: int
    last: int
    first_at: datetime
    last_at: datetime
    last_retained: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """Numbers from `first` to `last`, `count` of them; `after_at` and `before_at` are the recorded instants around them."""

    kind: Kind
    first: int
    last: int
    count: int
    after_at: datetime | None
    before_at: datetime | None


@dataclass(frozen=True, slots=True)
class Expired:
    """How many messages of one start the retention policy removed, and on which days at most they had arrived."""

    messages: int
    first_day: date
    last_day: date

    def may_explain(self, hole: Finding) -> bool:
        """Tell whether messages that arrived where the hole is can be among them."""
        before = hole.before_at is None or hole.before_at.date() >= self.first_day
        return before and (hole.after_at is None or hole.after_at.date() <= self.last_day)


@dataclass(slots=True)
class Book:
    """What was recorded of one start of a publisher; `floor` is the highest number that is not asked about."""

    source: str
    boot: str
    floor: int = 0
    doubled: int = 0
    _islands: list[Run] = field(default_factory=list)
    _notes: list[Finding] = field(default_factory=list)

    @property
    def highest(self) -> int:
        """The highest recorded number."""
        return max(self._islands[-1].last, self.floor) if self._islands else self.floor

    @property
    def published(self) -> int:
        """How many messages were published that are asked about, as far as the highest number tells."""
        return self.highest - self.floor

    @property
    def recorded(self) -> int:
        """How many of these are recorded, each counted once."""
        return sum(island.last - island.first + 1 for island in self._islands)

    def add(self, run: Run) -> None:
        """Enter the next run in the order of arrival."""
        if self._islands and run.first <= self.highest:
            self._note(run)
        self._enter(run)

    def settle(self, run: Run) -> None:
        """Enter what arrived after all that is asked about, where it fills a hole."""
        if run.first <= self.highest:
            self._enter(replace(run, last=min(run.last, self.highest)))

    def remember(self, run: Run) -> None:
        """Enter what arrived before all that is asked about, without a finding."""
        self._enter(run)

    def findings(self, start_at: datetime | None, expired: Expired | None = None) -> list[Finding]:
        """Return what there is to say, `start_at` being the beginning of the recording."""
        holes = [self._judged(hole, start_at) for hole in self.holes()]
        if expired is not None:
            holes = list(self._beyond(holes, expired, start_at))
        return sorted([*holes, *self._notes], key=lambda each: (each.first, each.last))

    def holes(self) -> Iterator[Finding]:
        """Return the numbers up to the highest that are not recorded."""
        last, after_at = self.floor, None
        for island in self._islands:
            if island.first > last + 1:
                count = island.first - last - 1
                yield Finding(Kind.MISSING, last + 1, island.first - 1, count, after_at, island.first_at)
            last, after_at = max(last, island.last), island.last_at

    def _judged(self, hole: Finding, start_at: datetime | None) -> Finding:
        if start_at is None or hole.before_at is None:
            return hole
        if hole.after_at is None:
            before = self.floor == 0 and hole.before_at <= start_at + timedelta(seconds=FIRST_S)
        else:
            lower = self._islands[bisect_left(self._islands, hole.first, key=lambda each: each.last) - 1]
            before = lower.last_retained and hole.after_at <= start_at + timedelta(seconds=RETAINED_S)
        return replace(hole, kind=Kind.BEFORE) if before else hole

    def _beyond(self, holes: list[Finding], expired: Expired, start_at: datetime | None) -> Iterator[Finding]:
        """Which messages expired is not known, only how many: what is missing beyond them is one finding."""
        unclear = [hole for hole in holes if expired.may_explain(hole)]
        yield from (hole for hole in holes if not expired.may_explain(hole))
        count = sum(hole.count for hole in unclear) - expired.messages
        if count > 0:
            early = start_at is not None and expired.first_day <= start_at.date()
            kind = Kind.BEFORE if early else Kind.MISSING
            yield Finding(kind, unclear[0].first, unclear[-1].last, count, unclear[0].after_at, unclear[-1].before_at)

    def _note(self, run: Run) -> None:
        """Note which parts of a run were there already, and which come after higher numbers."""
        at, highest = run.first, self.highest
        for island in self._near(run.first, run.last):
            self._say(Kind.LATE, at, min(island.first - 1, run.last), run)
            self._say(Kind.DOUBLED, max(at, island.first), min(island.last, run.last), run)
            at = max(at, island.last + 1)
        self._say(Kind.LATE, at, min(run.last, highest), run)

    def _say(self, kind: Kind, first: int, last: int, run: Run) -> None:
        if last < first:
            return
        self.doubled += last - first + 1 if kind is Kind.DOUBLED else 0
        note = Finding(kind, first, last, last - first + 1, run.first_at, run.last_at)
        if self._notes and self._notes[-1].kind is kind and self._notes[-1].last == first - 1:
            one = self._notes.pop()
            note = replace(note, first=one.first, count=one.count + note.count, after_at=one.after_at)
        self._notes.append(note)

    def _near(self, first: int, last: int) -> list[Run]:
        start, end = self._span(first, last)
        return self._islands[start:end]

    def _span(self, first: int, last: int) -> tuple[int, int]:
        start = bisect_left(self._islands, first, key=lambda each: each.last)
        end = start
        while end < len(self._islands) and self._islands[end].first <= last:
            end += 1
        return start, end

    def _enter(self, run: Run) -> None:
        if not self._islands or run.first > self._islands[-1].last + 1:
            self._islands.append(run)
            return
        start, end = self._span(run.first - 1, run.last + 1)
        merged = run
        for island in self._islands[start:end]:
            merged = _union(merged, island)
        self._islands[start:end] = [merged]


def _union(one: Run, other: Run) -> Run:
    low = min(one, other, key=lambda run: run.first)
    high = max(one, other, key=lambda run: run.last)
    return Run(low.first, high.last, low.first_at, high.last_at, high.last_retained)
