"""Conversion of readings to quarters of an hour: the one place where power and energy become kWh. Pure and vectorised.

A reading stands for the time from its beginning to the end of its interval, or to the next reading if that comes first. Power
is constant in that time; energy is spread over it evenly. A quarter gets its part of each reading that overlaps it:

- kWh readings: the sum of the energy. Energy is conserved: all quarters together hold it exactly.
- kW readings: the mean power, weighted by time, over the covered part, times a quarter of an hour. So a quarter with one of
  three samples has that sample's power, and a coverage of a third; kWh × coverage is conserved.
- Both in one quarter: the sum of the energy that falls into it.

A quarter that no reading touches does not exist.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from controllers.energy.interval import CLOSE, Flags, Times, infer_intervals

Values = npt.NDArray[np.float64]

QUARTER_US = 900_000_000
QUARTER_H = 0.25
HOUR_US = 3_600_000_000
FULL = 0.99
"""Least coverage of a quarter that counts as covered: a meter's clock may be some seconds late."""


@dataclass(frozen=True, slots=True)
class Readings:
    """The n readings of a ship in order of time, all at different times.

    `value` is in kW where `is_power`, else in kWh; NaN for a reading without a value, whose time still ends the one before.
    `given_us` is the interval given with a reading, µs, 0 for none, `WAITS_US` for one that waits for others.
    """

    time_us: Times
    value: Values
    is_power: Flags
    given_us: Times

    def __len__(self) -> int:
        return len(self.time_us)

    def only(self, chosen: Flags) -> "Readings":
        """Return the chosen ones."""
        return Readings(*(getattr(self, name)[chosen] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Quarters:
    """n quarters in order of their beginning. Coverage is 0..1; `is_estimated`: longer readings were split."""

    start_us: Times
    kwh: Values
    coverage: Values
    is_estimated: Flags
    is_negative: Flags

    def __len__(self) -> int:
        return len(self.start_us)

    def only(self, chosen: Flags) -> "Quarters":
        """Return the chosen ones."""
        return Quarters(*(getattr(self, name)[chosen] for name in self.__slots__))


NO_QUARTERS = Quarters(np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0, bool), np.empty(0, bool))


@dataclass(frozen=True, slots=True)
class Stretches:
    """n stretches of time that follow each other, with their energy in kWh: NaN where it is unknown.

    `is_estimated`: how the energy is spread within a quarter that the stretch touches is not known well.
    """

    begin_us: Times
    duration_us: Times
    kwh: Values
    is_estimated: Flags


def to_quarters(readings: Readings) -> Quarters:
    """Return the energy of every quarter that a reading touches.

    Raises:
        UnknownInterval: there is only one reading, without an interval.
    """
    valid = ~np.isnan(readings.value)
    if not valid.any():
        return NO_QUARTERS
    begin = readings.time_us
    interval = infer_intervals(begin, readings.is_power, readings.given_us)
    duration, interval = _duration(begin, interval)[valid], interval[valid]
    pieces = _cut(readings.only(valid), duration)
    edges = np.flatnonzero(np.diff(pieces.quarter, prepend=pieces.quarter[0] - 1))
    covered = np.add.reduceat(pieces.overlap_us, edges)
    return Quarters(
        start_us=pieces.quarter[edges] * QUARTER_US,
        kwh=_energy(pieces, edges, covered),
        coverage=covered / QUARTER_US,
        is_estimated=np.logical_or.reduceat(interval[pieces.owner] > QUARTER_US, edges),
        is_negative=np.logical_or.reduceat(pieces.value < 0, edges),
    )


def quarters_of_stretches(stretches: Stretches) -> Quarters:
    """Return the energy of every quarter that a stretch touches; it is spread over the stretch evenly.

    A stretch of unknown energy covers nothing, so a quarter may have a coverage of 0: `together` leaves it out.
    """
    if not len(stretches.begin_us):
        return NO_QUARTERS
    known, duration = ~np.isnan(stretches.kwh), stretches.duration_us
    kwh = np.where(known, stretches.kwh, 0.0)
    pieces = _cut(Readings(stretches.begin_us, kwh, np.zeros(len(kwh), bool), duration), duration)
    edges = np.flatnonzero(np.diff(pieces.quarter, prepend=pieces.quarter[0] - 1))
    return Quarters(
        start_us=pieces.quarter[edges] * QUARTER_US,
        kwh=np.add.reduceat(pieces.value * pieces.share, edges),
        coverage=np.add.reduceat(np.where(known[pieces.owner], pieces.overlap_us, 0), edges) / QUARTER_US,
        is_estimated=np.logical_or.reduceat(stretches.is_estimated[pieces.owner], edges),
        is_negative=np.logical_or.reduceat(pieces.value < 0, edges),
    )


def together(*parts: Quarters) -> Quarters:
    """Return the quarters of several meters: their energies added, and the least coverage of those that know of the quarter.

    A quarter that none of them covers does not exist.
    """
    present = [part for part in parts if len(part)]
    if len(present) < 2:
        return present[0].only(present[0].coverage > 0) if present else NO_QUARTERS
    start, kwh, coverage, estimated, negative = (
        np.concatenate([getattr(part, name) for part in present]) for name in Quarters.__slots__
    )
    order = np.argsort(start, kind="stable")
    edges = np.flatnonzero(np.diff(start[order], prepend=start[order[0]] - 1))
    found = Quarters(
        start[order][edges],
        np.add.reduceat(kwh[order], edges),
        np.minimum.reduceat(coverage[order], edges),
        np.logical_or.reduceat(estimated[order], edges),
        np.logical_or.reduceat(negative[order], edges),
    )
    return found.only(np.maximum.reduceat(coverage[order], edges) > 0)


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Overlaps of one reading with one quarter, in order; `share` is the part of the reading's time."""

    owner: npt.NDArray[np.int64] | slice
    quarter: Times
    overlap_us: Times
    share: Values
    value: Values
    is_power: Flags


def _cut(readings: Readings, duration: Times) -> _Pieces:
    begin = readings.time_us
    first, last = begin // QUARTER_US, (begin + duration - 1) // QUARTER_US
    if (first == last).all():  # as with every usual meter: nothing to cut
        whole = np.ones(len(begin))
        return _Pieces(slice(None), first, duration, whole, readings.value, readings.is_power)
    counts = last - first + 1
    owner = np.repeat(np.arange(len(begin)), counts)
    quarter = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(len(owner))
    start, stop = begin[owner], (begin + duration)[owner]
    overlap = np.minimum((quarter + 1) * QUARTER_US, stop) - np.maximum(quarter * QUARTER_US, start)
    return _Pieces(owner, quarter, overlap, overlap / duration[owner], readings.value[owner], readings.is_power[owner])


def _energy(pieces: _Pieces, edges: npt.NDArray[np.intp], covered_us: Times) -> Values:
    """Return kWh for each quarter; its pieces begin at an edge."""
    if not pieces.is_power.any():
        return np.add.reduceat(pieces.value * pieces.share, edges)
    if pieces.is_power.all():
        return np.add.reduceat(pieces.value * pieces.overlap_us, edges) / covered_us * QUARTER_H
    powered = np.add.reduceat(np.where(pieces.is_power, pieces.overlap_us, 0), edges)
    work = np.add.reduceat(np.where(pieces.is_power, pieces.value * pieces.overlap_us, 0.0), edges)
    energy = np.add.reduceat(np.where(pieces.is_power, 0.0, pieces.value * pieces.share), edges)
    return np.where(powered == covered_us, work / np.maximum(powered, 1) * QUARTER_H, energy + work / HOUR_US)


def _duration(begin: Times, interval: Times) -> Times:
    """Return how long each reading stands for, µs: until the next one if that comes early or only a little late."""
    until_next = np.append(np.diff(begin), interval[-1])
    in_time = until_next <= (interval * (1 + CLOSE)).astype(np.int64)
    return np.where(in_time, until_next, interval)
