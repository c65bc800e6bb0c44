"""Intervals: how long each reading of a series stands for, inferred from the spacing of its readings.

The interval is a function of all readings of a series together, however they were divided into posts:

1. A part of the series ends before a gap of more than a day, and where the unit changes.
2. Within a part, each spacing and each interval that was given with a reading has a vote. The winner is the part's interval,
   on a tie the smallest, so that missing readings do not make the others longer.
3. If the winner has only one vote, the parts of the same unit vote together; if there is no winner then, all parts.
4. A stretch of at least a dozen equal spacings in a row that differ from the part's interval is regular by itself: the meter
   had another setting, and the readings have their own spacing as their interval.

So a missing reading is a gap: the reading before it stands for its own interval only.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.int64]
"""Microseconds since 1970, UTC."""
Flags = npt.NDArray[np.bool_]

MINUTE_US = 60_000_000
DAY_US = 1_440 * MINUTE_US
USUAL_US = np.array(
    sorted({m * MINUTE_US for m in (1, 2, 3, 5, 6, 10, 20)} | {15 * n * MINUTE_US for n in range(1, 97)}), dtype=np.int64
)
"""Usual intervals of meters; a spacing close to one of them is taken for it."""
CLOSE = 0.1
"""Relative deviation allowed for the spacings of a regular series, since clocks of meters are not exact."""
REGULAR_STRETCH = 12

WAITS_US = -1
"""In place of a given interval: it will be known when there are more readings."""

INTERVAL_NEEDED = "a single reading has no known interval: give interval_minutes"


class UnknownInterval(ValueError):
    """A series of a single reading without an interval."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Readings from `start` up to, without, `stop`, and the votes about their interval."""

    start: int
    stop: int
    votes: Times


def infer_intervals(times_us: Times, is_power: Flags, given_us: Times) -> Times:
    """Return the interval of each reading, µs.

    Args:
        times_us: n beginnings of readings, in order, all different, n ≥ 1.
        is_power: n flags: kW, else kWh.
        given_us: n intervals that were given with a reading, 0 or less where none was.

    Raises:
        UnknownInterval: there is only one reading, without an interval.
    """
    spacing = usual(np.diff(times_us))
    cut = (np.diff(times_us) > DAY_US) | (np.diff(is_power.astype(np.int8)) != 0)
    intervals = np.empty_like(times_us)
    parts = _parts(spacing, cut, given_us)
    together = {power: _winner([part.votes for part in parts if is_power[part.start] == power])[0] for power in (False, True)}
    overall = _winner([part.votes for part in parts])[0] or _winner([spacing])[0]
    for part in parts:
        interval_us, count = _winner([part.votes])
        if count < 2:
            interval_us = together[bool(is_power[part.start])] or overall
        if not interval_us:
            raise UnknownInterval(INTERVAL_NEEDED)
        intervals[part.start : part.stop] = interval_us
        _set_regular_stretches(intervals, spacing, part, interval_us)
    return np.where(given_us > 0, given_us, intervals)


def usual(spacing_us: Times) -> Times:
    """Return the spacings, with those close to a usual interval replaced by it."""
    place = np.clip(np.searchsorted(USUAL_US, spacing_us), 1, len(USUAL_US) - 1)
    below, above = USUAL_US[place - 1], USUAL_US[place]
    nearest = np.where(spacing_us - below <= above - spacing_us, below, above)
    return np.where(np.abs(nearest - spacing_us) <= CLOSE * nearest, nearest, spacing_us)


def _parts(spacing: Times, cut: Flags, given_us: Times) -> list[_Part]:
    edges = [0, *(np.flatnonzero(cut) + 1).tolist(), len(given_us)]
    parts = []
    for start, stop in pairwise(edges):
        given = given_us[start:stop]
        parts.append(_Part(start, stop, np.concatenate([spacing[start : stop - 1], given[given > 0]])))
    return parts


def _winner(votes: list[Times]) -> tuple[int, int]:
    """Return the value with the most votes, on a tie the smallest, and its count; 0 and 0 without votes."""
    cast = np.concatenate(votes) if votes else np.empty(0, dtype=np.int64)
    if not len(cast):
        return 0, 0
    values, counts = np.unique(cast, return_counts=True)
    winner = int(np.argmax(counts))
    return int(min(values[winner], DAY_US)), int(counts[winner])


def _set_regular_stretches(intervals: Times, spacing: Times, part: _Part, interval_us: int) -> None:
    within = spacing[part.start : part.stop - 1]
    if len(within) < REGULAR_STRETCH:
        return
    starts = np.concatenate([[0], np.flatnonzero(np.diff(within) != 0) + 1])
    lengths = np.diff(np.concatenate([starts, [len(within)]]))
    long = (lengths >= REGULAR_STRETCH) & (within[starts] != interval_us)
    for start, length in zip(starts[long].tolist(), lengths[long].tolist(), strict=True):
        first = part.start + start
        intervals[first : first + length] = min(int(within[start]), DAY_US)
        if first + length == part.stop - 1:  # the last reading of the part has no spacing of its own
            intervals[first + length] = intervals[first]
