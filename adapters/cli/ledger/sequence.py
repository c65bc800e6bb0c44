"""The sequence of numbers of one start of a publisher: which are recorded, missing, doubled or late. No I/O.

A publisher numbers its messages 1, 2, 3…, so the recorded messages of one start, in the order of their arrival, are a few long
runs of consecutive numbers. The missing, doubled and late messages follow from these runs.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import Enum

FIRST_S = 60
"""A publisher first recorded in the first minute of the recording may have published before it."""
RETAINED_S = 5
"""Within this time the broker delivers the retained messages from before the recording."""


class FindingKind(Enum):
    """The kinds of findings about the numbers of a publisher."""

    MISSING = "missing"
    DOUBLED = "doubled"
    LATE = "late"
    BEFORE = "before the recording"


@dataclass(frozen=True, slots=True)
class NumberRun:
    """Messages of one start, recorded one after the other with consecutive numbers."""

    first: int
    last: int
    first_at: datetime
    last_at: datetime
    last_retained: bool = False


@dataclass(frozen=True, slots=True)
class SequenceFinding:
    """Numbers from `first` to `last`, `count` of them, between the recorded instants `after_at` and `before_at`."""

    kind: FindingKind
    first: int
    last: int
    count: int
    after_at: datetime | None
    before_at: datetime | None


@dataclass(frozen=True, slots=True)
class Expired:
    """The number of messages of one start that the retention policy removed, and the range of days of their arrival."""

    messages: int
    first_day: date
    last_day: date

    def may_explain(self, hole: SequenceFinding) -> bool:
        """Return whether messages that arrived during the hole can be among them."""
        before = hole.before_at is None or hole.before_at.date() >= self.first_day
        return before and (hole.after_at is None or hole.after_at.date() <= self.last_day)


@dataclass(slots=True)
class PublisherSequence:
    """The recorded numbers of one start of a publisher; numbers up to `floor` are not considered."""

    source: str
    boot: str
    floor: int = 0
    doubled: int = 0
    claimed: bool = False
    """Whether some of these numbers are claims."""
    _ranges: list[NumberRun] = field(default_factory=list)
    _claimed_ranges: list[NumberRun] = field(default_factory=list)
    """Numbers that only claims have: they fill holes, and are nothing else."""
    _found: list[SequenceFinding] = field(default_factory=list)

    @property
    def highest(self) -> int:
        """The highest recorded number."""
        return max(self._ranges[-1].last, self.floor) if self._ranges else self.floor

    @property
    def published(self) -> int:
        """The number of considered messages that were published, by the highest number."""
        return self.highest - self.floor

    @property
    def recorded(self) -> int:
        """The number of considered messages that are recorded, each counted once."""
        return self.published - sum(hole.count for hole in self.holes())

    @property
    def empty(self) -> bool:
        """Whether no number was added but claimed ones."""
        return not self._ranges

    def add(self, run: NumberRun) -> None:
        """Add the next run in the order of arrival."""
        if self._ranges and run.first <= self.highest:
            self._compare(run)
        _insert(self._ranges, run)

    def add_claimed(self, run: NumberRun) -> None:
        """Add a claimed run, which fills holes."""
        _insert(self._claimed_ranges, run)

    def add_later(self, run: NumberRun) -> None:
        """Add a run that arrived after all considered messages, where it fills a hole."""
        if run.first <= self.highest:
            _insert(self._ranges, replace(run, last=min(run.last, self.highest)))

    def add_earlier(self, run: NumberRun) -> None:
        """Add a run that arrived before all considered messages, without a finding."""
        _insert(self._ranges, run)

    def findings(self, start_at: datetime | None, expired: Expired | None = None) -> list[SequenceFinding]:
        """Return all findings; `start_at` is the beginning of the recording."""
        holes = [self._classified(hole, start_at) for hole in self.holes()]
        if expired is not None:
            holes = list(self._beyond(holes, expired, start_at))
        return sorted([*holes, *self._found], key=lambda each: (each.first, each.last))

    def holes(self) -> Iterator[SequenceFinding]:
        """Yield the numbers up to the highest that are not recorded."""
        last, after_at = self.floor, None
        for each in self._ranges:
            for first, end in _without(last + 1, each.first - 1, self._claimed_ranges):
                yield SequenceFinding(FindingKind.MISSING, first, end, end - first + 1, after_at, each.first_at)
            last, after_at = max(last, each.last), each.last_at

    def _classified(self, hole: SequenceFinding, start_at: datetime | None) -> SequenceFinding:
        if start_at is None or hole.before_at is None:
            return hole
        if hole.after_at is None:
            before = self.floor == 0 and hole.before_at <= start_at + timedelta(seconds=FIRST_S)
        else:
            lower = self._ranges[bisect_left(self._ranges, hole.first, key=lambda each: each.last) - 1]
            before = lower.last_retained and hole.after_at <= start_at + timedelta(seconds=RETAINED_S)
        return replace(hole, kind=FindingKind.BEFORE) if before else hole

    def _beyond(self, holes: list[SequenceFinding], expired: Expired, start_at: datetime | None) -> Iterator[SequenceFinding]:
        """Only the number of expired messages is known, not which: all that is missing beyond it is one finding."""
        unclear = [hole for hole in holes if expired.may_explain(hole)]
        yield from (hole for hole in holes if not expired.may_explain(hole))
        count = sum(hole.count for hole in unclear) - expired.messages
        if count > 0:
            early = start_at is not None and expired.first_day <= start_at.date()
            kind = FindingKind.BEFORE if early else FindingKind.MISSING
            yield SequenceFinding(kind, unclear[0].first, unclear[-1].last, count, unclear[0].after_at, unclear[-1].before_at)

    def _compare(self, run: NumberRun) -> None:
        """Find the parts of a run that are recorded already, and those that come after higher numbers."""
        at, highest = run.first, self.highest
        for each in self._near(run.first, run.last):
            self._add_finding(FindingKind.LATE, at, min(each.first - 1, run.last), run)
            self._add_finding(FindingKind.DOUBLED, max(at, each.first), min(each.last, run.last), run)
            at = max(at, each.last + 1)
        self._add_finding(FindingKind.LATE, at, min(run.last, highest), run)

    def _add_finding(self, kind: FindingKind, first: int, last: int, run: NumberRun) -> None:
        if last < first:
            return
        self.doubled += last - first + 1 if kind is FindingKind.DOUBLED else 0
        note = SequenceFinding(kind, first, last, last - first + 1, run.first_at, run.last_at)
        if self._found and self._found[-1].kind is kind and self._found[-1].last == first - 1:
            one = self._found.pop()
            note = replace(note, first=one.first, count=one.count + note.count, after_at=one.after_at)
        self._found.append(note)

    def _near(self, first: int, last: int) -> list[NumberRun]:
        start, end = _span(self._ranges, first, last)
        return self._ranges[start:end]


def _without(first: int, last: int, ranges: list[NumberRun]) -> Iterator[tuple[int, int]]:
    """Yield the parts of the numbers from `first` to `last` that are in none of the ranges."""
    if first > last:
        return
    start, end = _span(ranges, first, last)
    for each in ranges[start:end]:
        if each.first > first:
            yield first, each.first - 1
        first = each.last + 1
    if first <= last:
        yield first, last


def _span(ranges: list[NumberRun], first: int, last: int) -> tuple[int, int]:
    """Return where the ranges begin and end that have numbers from `first` to `last`."""
    start = bisect_left(ranges, first, key=lambda each: each.last)
    end = start
    while end < len(ranges) and ranges[end].first <= last:
        end += 1
    return start, end


def _insert(ranges: list[NumberRun], run: NumberRun) -> None:
    if not ranges or run.first > ranges[-1].last + 1:
        ranges.append(run)
        return
    start, end = _span(ranges, run.first - 1, run.last + 1)
    merged = run
    for each in ranges[start:end]:
        merged = _union(merged, each)
    ranges[start:end] = [merged]


def _union(one: NumberRun, other: NumberRun) -> NumberRun:
    low = min(one, other, key=lambda run: run.first)
    high = max(one, other, key=lambda run: run.last)
    return NumberRun(low.first, high.last, low.first_at, high.last_at, high.last_retained)
