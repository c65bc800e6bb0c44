"""All that is known of one ship, and what a post changes about it."""

from dataclasses import dataclass, field

import numpy as np

from controllers.energy.quarters import FULL, Quarters, Readings, to_quarters

_SAME_COVERAGE = 1e-6
"""It is told with six places."""
EMPTY = Readings(np.empty(0, np.int64), np.empty(0), np.empty(0, bool), np.empty(0, np.int64))


@dataclass(frozen=True, slots=True)
class Changes:
    """What a post changed: quarters that are new or have other values, and beginnings (µs) of those that are no more."""

    quarters: Quarters
    gone_us: tuple[int, ...]


@dataclass(slots=True)
class Series:
    """The readings of a ship, and their quarters. What is posted later for the same time takes the place of what was there."""

    readings: Readings = field(default_factory=lambda: EMPTY)
    quarters: Quarters = field(default_factory=lambda: to_quarters(EMPTY))

    def post(self, posted: Readings) -> Changes:
        """Add readings, which need no order; of several for the same time the last counts.

        Raises:
            UnknownInterval: the series would be a single reading without an interval. Nothing has changed.
        """
        readings = merged(self.readings, posted)
        quarters = to_quarters(readings)
        changes = changes_between(self.quarters, quarters)
        self.readings, self.quarters = readings, quarters
        return changes


def merged(*parts: Readings) -> Readings:
    """Return all, in order of time; of those at the same time the last that has a value, with the longest interval given."""
    times, values, powers, given = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("time_us", "value", "is_power", "given_us")
    )
    if not len(times):
        return EMPTY
    order = np.lexsort((~np.isnan(values), times))  # stable: otherwise as they came
    ordered = times[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    chosen = order[np.append(first[1:], len(ordered)) - 1]
    return Readings(ordered[first], values[chosen], powers[chosen], np.maximum.reduceat(given[order], first))


def changes_between(before: Quarters, after: Quarters) -> Changes:
    """Return what is to be told so that whoever knows `before` knows `after`."""
    gone = np.setdiff1d(before.start_us, after.start_us, assume_unique=True)
    if not len(before):
        return Changes(after, ())
    place = np.minimum(np.searchsorted(before.start_us, after.start_us), len(before) - 1)
    same = (before.start_us[place] == after.start_us) & (before.kwh[place] == after.kwh)
    same &= np.abs(before.coverage[place] - after.coverage) < _SAME_COVERAGE
    same &= before.is_negative[place] == after.is_negative
    same &= (before.is_estimated[place] == after.is_estimated) | (after.coverage < FULL)  # a part is a part
    return Changes(after.only(~same), tuple(gone.tolist()))
