"""Cumulative registers: the energy between the readings of a meter that counts up.

Readings are judged in order of time, each against the last one accepted:

- At or above it, the reading is accepted: the difference is the energy of the stretch between the two.
- Below it, the register fell, and the reading after the fall decides. If that is back at or above the value before the fall, it
  was a false zero: it is left out, whatever `falls` says. Otherwise `ignore` leaves it out. With `reset` the register began
  again at 0, so its value is the energy of the stretch. With `swap` it is another meter, and that energy is unknown.

Until there is a reading after it, a fall counts as nothing. The result is a function of the set of readings: late and repeated
ones, in any order, lead to the same stretches. Only the readings around a new one are judged again, which takes microseconds at
the end of a series of any length.
"""

import math
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np

from broker.contract.energy.topics import Falls
from controllers.energy.quarters import QUARTER_US, Quarters, Stretches, Values, quarters_of_stretches

LONGEST_STRETCH_US = 5 * 366 * 96 * QUARTER_US
"""A longer stretch does not count: its energy is unknown, as if the meter had been swapped."""
_FALLS: dict[Falls, int] = {"ignore": 0, "reset": 1, "swap": 2}
_IGNORE, _RESET, _SWAP = 0, 1, 2
_ACCEPTED = b"\1"


@dataclass(frozen=True, slots=True)
class Span:
    """A period in which stretches have changed, from the beginning of a quarter up to that of another, µs since 1970."""

    start_us: int
    stop_us: int


@dataclass(frozen=True, slots=True)
class _High:
    """The last reading accepted so far."""

    place: int
    kwh: float


class Register:
    """The readings of one register in order of time, 18 bytes each, and which of them are accepted."""

    def __init__(self) -> None:
        self._times, self._kwh = array("q"), array("d")
        self._falls, self._accepted = bytearray(), bytearray()

    def __len__(self) -> int:
        return len(self._times)

    @property
    def first_us(self) -> int | None:
        """Time of the first reading, None without any."""
        return self._times[0] if self._times else None

    def take(self, time_us: int, kwh: float, falls: Falls = "ignore") -> Span | None:
        """Take the register's value at a time; one for a time that is known replaces it. NaN is left out.

        Returns:
            The period of the quarters that may have changed, None where none has.
        """
        if math.isnan(kwh):
            return None
        if self._times and time_us > self._times[-1] and self._accepted[-1] and kwh >= self._kwh[-1]:  # as nearly always
            start_us = self._times[-1]
            self._append(time_us, kwh, falls, accepted=True)
            return _span(start_us, time_us)
        place = bisect_left(self._times, time_us)
        if place == len(self._times) or self._times[place] != time_us:
            self._times.insert(place, time_us)
            self._kwh.insert(place, kwh)
            self._falls.insert(place, _FALLS[falls])
            self._accepted.insert(place, False)
            return self._judge(place, None)
        before, self._kwh[place] = self._kwh[place], kwh
        is_same = before == kwh and self._falls[place] == _FALLS[falls]
        self._falls[place] = _FALLS[falls]
        return None if is_same else self._judge(place, before)

    def quarters(self, span: Span | None = None) -> Quarters:
        """Return the quarters in a period, or all, those of unknown energy included (`quarters_of_stretches`)."""
        first, last = 0, len(self._times)
        if span is not None:
            first = max(self._accepted.rfind(_ACCEPTED, 0, bisect_right(self._times, span.start_us)), 0)
            following = self._accepted.find(_ACCEPTED, bisect_left(self._times, span.stop_us))
            last = following + 1 if following >= 0 else last
        found = quarters_of_stretches(self._stretches(first, last))
        return found if span is None else found.only((found.start_us >= span.start_us) & (found.start_us < span.stop_us))

    def _append(self, time_us: int, kwh: float, falls: Falls, accepted: bool) -> None:
        self._times.append(time_us)
        self._kwh.append(kwh)
        self._falls.append(_FALLS[falls])
        self._accepted.append(accepted)

    def _judge(self, place: int, replaced: float | None) -> Span | None:
        """Judge again from the reading before `place`, until the last accepted one is the same as it was without this one."""
        at = max(place - 1, 0)
        base = self._accepted.rfind(_ACCEPTED, 0, at)
        high = was_high = _High(base, self._kwh[base]) if base >= 0 else None
        start = base if base >= 0 else at
        changed = False
        while True:
            kwh, was_accepted = self._kwh[at], bool(self._accepted[at])
            is_replaced = at == place and replaced is not None
            if was_accepted:
                was_high = _High(at, replaced if is_replaced and replaced is not None else kwh)
            accepted = self._accepts(at, high)
            self._accepted[at] = accepted
            changed |= accepted != was_accepted or (is_replaced and accepted)
            if accepted:
                high = _High(at, kwh)
            if at + 1 == len(self._times) or (at >= place and high == was_high):
                break
            at += 1
        if not changed:
            return None
        return _span(self._times[start], self._times[at])

    def _accepts(self, place: int, high: _High | None) -> bool:
        if high is None or self._kwh[place] >= high.kwh:
            return True
        if place + 1 == len(self._kwh) or self._kwh[place + 1] >= high.kwh:
            return False
        return self._falls[place] != _IGNORE

    def _stretches(self, first: int, last: int) -> Stretches:
        """Return the stretches between the accepted ones of the readings from `first` up to, without, `last`."""
        chosen = np.flatnonzero(np.frombuffer(bytes(self._accepted[first:last]), np.uint8))
        times = np.array(self._times[first:last], dtype=np.int64)[chosen]
        kwh = np.array(self._kwh[first:last], dtype=np.float64)[chosen]
        falls = np.frombuffer(bytes(self._falls[first:last]), np.uint8)[chosen][1:]
        used: Values = np.diff(kwh)
        fell, duration = used < 0, np.diff(times)
        used = np.where(fell, kwh[1:], used)
        used[fell & (falls == _SWAP)] = np.nan
        counts = duration <= LONGEST_STRETCH_US
        estimated = fell | (duration > QUARTER_US)
        return Stretches(times[:-1][counts], duration[counts], used[counts], estimated[counts])


def _span(start_us: int, stop_us: int) -> Span:
    """Return the whole quarters around a period, at least one."""
    first = start_us // QUARTER_US
    return Span(first * QUARTER_US, max(first + 1, (stop_us - 1) // QUARTER_US + 1) * QUARTER_US)
