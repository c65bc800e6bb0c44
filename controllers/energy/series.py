"""The readings and quarters of one ship, and the changes that a post makes."""

from dataclasses import dataclass, field

import numpy as np

from controllers.energy.quarters import FULL, Quarters, Readings, to_quarters

_SAME_COVERAGE = 1e-6
"""It is published with six decimal places."""
EMPTY = Readings(np.empty(0, np.int64), np.empty(0), np.empty(0, bool), np.empty(0, np.int64))


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes by a post: new and changed quarters, and the beginnings (µs) of removed ones."""

    quarters: Quarters
    removed_us: tuple[int, ...]


@dataclass(slots=True)
class Series:
    """The readings of a ship and their quarters. A later reading for the same time replaces an earlier one."""

    readings: Readings = field(default_factory=lambda: EMPTY)
    quarters: Quarters = field(default_factory=lambda: to_quarters(EMPTY))

    def post(self, posted: Readings) -> Changes:
        """Add readings in any order; of several for the same time the last counts.

        Raises:
            UnknownInterval: the series would be a single reading without an interval. Nothing has changed.
        """
        readings = merged(self.readings, posted)
        quarters = to_quarters(readings)
        changes = changes_between(self.quarters, quarters)
        self.readings, self.quarters = readings, quarters
        return changes


def merged(*parts: Readings) -> Readings:
    """Return all readings in order of time; of those at one time the last with a value, and the longest interval given."""
    times, values, powers, given = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("time_us", "value", "is_power", "given_us")
    )
    if not len(times):
        return EMPTY
    order = np.lexsort((~np.isnan(values), times))  # stable: otherwise in the given order
    ordered = times[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    chosen = order[np.append(first[1:], len(ordered)) - 1]
    return Readings(ordered[first], values[chosen], powers[chosen], np.maximum.reduceat(given[order], first))


def changes_between(before: Quarters, after: Quarters) -> Changes:
    """Return the changes that lead from `before` to `after`."""
    removed = np.setdiff1d(before.start_us, after.start_us, assume_unique=True)
    if not len(before):
        return Changes(after, ())
    place = np.minimum(np.searchsorted(before.start_us, after.start_us), len(before) - 1)
    same = (before.start_us[place] == after.start_us) & (before.kwh[place] == after.kwh)
    same &= np.abs(before.coverage[place] - after.coverage) < _SAME_COVERAGE
    same &= before.is_negative[place] == after.is_negative
    same &= (before.is_estimated[place] == after.is_estimated) | (after.coverage < FULL)  # both are partial
    return Changes(after.only(~same), tuple(removed.tolist()))
