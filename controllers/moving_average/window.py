"""The last readings of one machine, ordered by time, and their averages. Pure.

Readings are ordered by timestamp, so their order of arrival does not matter; of two with the same timestamp the later arrival
replaces the earlier one. One without a timestamp comes after all readings before it.

After a clock is set back, every new reading would be older than the window. So if `AGREEING` readings arrive one after the
other, each more than `SET_BACK_S` before the newest one and each later than the one before it, the machine's clock is taken to
be set back, and readings newer than the last of them are dropped. Late readings of that age are rare; they arrive in such a row
when a machine sends what it stored while it was offline, and then its next present reading is the newest again. A clock that is
set forward needs no rule: its readings are the newest.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from controllers.moving_average.analysis import mean
from controllers.moving_average.reading import Field, Reading

SET_BACK_S = 3600.0
"""A reading that is older than the newest one by more than this counts as late, until others agree with it."""
AGREEING = 5
LONGEST_WINDOW = 10_000

_AT_S = attrgetter("at_s")


@dataclass(frozen=True, slots=True)
class Average:
    """Means in the order of the fields, None if no reading has a number; how many readings have none; the latest status."""

    means: tuple[float | None, ...]
    left_out: tuple[int, ...]
    status: str | None
    readings: int

    def payload(self, fields: Sequence[Field]) -> dict[str, object]:
        """Return the payload; with `left_out` only if there is something in it.

        Means have 12 significant digits: more than readings have, without the artefacts of binary fractions.
        """
        payload: dict[str, object] = {"average_temperature": None, "average_speed": None}
        payload.update(zip((field.key for field in fields), map(_rounded, self.means), strict=True))
        payload["status"] = self.status
        left_out = {field.name: count for field, count in zip(fields, self.left_out, strict=True) if count}
        return {**payload, "left_out": left_out} if left_out else payload


@dataclass(frozen=True, slots=True)
class _Placed:
    """A reading with its place: its timestamp in seconds, or else a value after all readings before it."""

    at_s: float
    reading: Reading


class Window:
    """The last `length` readings of one machine, 1 or more; a `Reading` has the values of the same fields each time."""

    __slots__ = ("_behind", "_length", "_placed", "_recorded_only")

    def __init__(self, length: int) -> None:
        self._length = length
        self._placed: list[_Placed] = []
        self._behind: list[_Placed] = []
        self._recorded_only = False

    def add(self, reading: Reading) -> bool:
        """Add a reading that has arrived now; return whether the window has changed."""
        before = self._placed
        self._drop_future(reading)
        placed = self._insert(reading)
        self._check_set_back(placed)
        return self._placed != before

    def add_recorded(self, readings: Sequence[Reading]) -> bool:
        """Add earlier readings, oldest arrival first; return whether the window has changed.

        Those with a later timestamp than what has arrived since are of another clock: a run at time scale 1 after a faster one.
        """
        before, live = self._placed, self.readings
        newest_s = max((each.taken_s for each in live if each.taken_s is not None), default=math.inf)
        self._placed, self._recorded_only = [], not live
        for reading in readings:
            if reading.taken_s is None or reading.taken_s <= newest_s:
                self._insert(reading)
        for reading in live:
            self._insert(reading)
        return self._placed != before

    def average(self) -> Average:
        """Return the averages over the readings, of which there must be one at least."""
        columns = list(zip(*(placed.reading.values for placed in self._placed), strict=True))
        numbers = [[value for value in column if value is not None] for column in columns]
        return Average(
            tuple([mean(column) if column else None for column in numbers]),
            tuple([len(self._placed) - len(column) for column in numbers]),
            self._placed[-1].reading.status,
            len(self._placed),
        )

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The readings, oldest first."""
        return tuple([placed.reading for placed in self._placed])

    def _insert(self, reading: Reading) -> _Placed:
        if reading.taken_s is not None:
            at_s = reading.taken_s
        else:
            at_s = math.nextafter(self._placed[-1].at_s, math.inf) if self._placed else -math.inf
        placed = _Placed(at_s, reading)
        self._put(placed)
        return placed

    def _put(self, placed: _Placed) -> None:
        at = bisect_right(self._placed, placed.at_s, key=_AT_S)
        same = at > 0 and self._placed[at - 1].at_s == placed.at_s
        self._placed = [*self._placed[: at - same], placed, *self._placed[at:]][-self._length :]

    def _drop_future(self, reading: Reading) -> None:
        """Drop recorded readings of a clock that was ahead of the present one."""
        if self._recorded_only and reading.taken_s is not None:
            self._placed = [each for each in self._placed if each.at_s <= reading.taken_s]
        self._recorded_only = False

    def _check_set_back(self, placed: _Placed) -> None:
        """Detect a clock that was set back."""
        if placed.at_s >= self._placed[-1].at_s - SET_BACK_S:
            self._behind = []
            return
        before_s = self._behind[-1].at_s if self._behind else -math.inf
        earlier = self._behind[:-1] if placed.at_s == before_s else self._behind if placed.at_s > before_s else []
        self._behind = [*earlier, placed]
        if len(self._behind) >= AGREEING:
            self._placed = [each for each in self._placed if each.at_s <= placed.at_s]
            for each in self._behind:
                self._put(each)
            self._behind = []


def _rounded(mean_value: float | None) -> float | None:
    return None if mean_value is None else float(f"{mean_value:.12g}")
