"""The readings and quarters of one ship, the changes that a post makes, and quarters as published rows."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from broker.contract.energy.topics import ESTIMATED, MEASURED, PARTIAL, Falls, Quarter
from controllers.energy.interval import WAITS_US, UnknownInterval
from controllers.energy.quarters import FULL, NO_QUARTERS, Quarters, Readings, to_quarters, together
from controllers.energy.registers import Register, Span

_SAME_COVERAGE = 1e-6
"""Coverage is published with six decimal places."""
GONE = "gone"
"""Quality of a quarter that was removed, because finer readings do not cover it."""
_PLACES = 6
MOST_REGISTERS = 100
"""Registers of one ship."""
EMPTY = Readings(np.empty(0, np.int64), np.empty(0), np.empty(0, bool), np.empty(0, np.int64))


class TooManyRegisters(ValueError):
    """A ship has as many registers as it may have."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes by a post: new and changed quarters, and the beginnings (µs) of removed ones."""

    quarters: Quarters
    removed_us: tuple[int, ...]


@dataclass(slots=True)
class Series:
    """The readings and registers of a ship, and their quarters. A later reading for the same time replaces an earlier one."""

    readings: Readings = field(default_factory=lambda: EMPTY)
    posted: Quarters = NO_QUARTERS
    """The quarters of the readings alone."""
    registers: dict[str, Register] = field(default_factory=dict)
    quarters: Quarters = NO_QUARTERS
    """The quarters of readings and registers together, as of the last `refresh`."""

    def post(self, posted: Readings) -> Changes:
        """Add readings in any order; of several for the same time the last counts.

        Raises:
            UnknownInterval: the series would be a single reading without an interval. Nothing has changed.
        """
        self.add(posted)
        return self.refresh()

    def add(self, posted: Readings) -> None:
        """Add readings without refreshing the quarters.

        Raises:
            UnknownInterval: the series would be a single reading without an interval. Nothing has changed.
        """
        readings = merged(self.readings, posted)
        try:
            self.posted = to_quarters(readings)
        except UnknownInterval:
            if (readings.given_us != WAITS_US).all():
                raise
            self.posted = NO_QUARTERS
        self.readings = readings

    def add_register(self, name: str, posted: Readings, falls: Falls) -> Span | None:
        """Add values of a register, without refreshing the quarters; return the period of those that may change.

        Raises:
            TooManyRegisters: the ship has `MOST_REGISTERS` others. Nothing has changed.
        """
        if name not in self.registers and len(self.registers) >= MOST_REGISTERS:
            raise TooManyRegisters(f"a ship may have {MOST_REGISTERS} registers")
        register = self.registers.get(name) or self.registers.setdefault(name, Register())
        taken = (register.take(*each, falls) for each in zip(posted.time_us.tolist(), posted.value.tolist(), strict=True))
        spans = [span for span in taken if span is not None]
        return Span(min(span.start_us for span in spans), max(span.stop_us for span in spans)) if spans else None

    def refresh(self, span: Span | None = None) -> Changes:
        """Derive the quarters of a period again, or all, and return what has changed."""
        if span is None:
            before, self.quarters = self.quarters, together(self.posted, *(each.quarters() for each in self.registers.values()))
            return changes_between(before, self.quarters)
        parts = [_within(self.posted, span), *(each.quarters(span) for each in self.registers.values())]
        before, after = _within(self.quarters, span), together(*parts)
        self.quarters = _replaced(self.quarters, span, after)
        return changes_between(before, after)

    @property
    def first_us(self) -> int | None:
        """Time of the first reading, of registers too; None without any."""
        firsts = [each.first_us for each in self.registers.values()]
        if len(self.readings):
            firsts.append(int(self.readings.time_us[0]))
        return min((each for each in firsts if each is not None), default=None)


def _within(quarters: Quarters, span: Span) -> Quarters:
    first, after = np.searchsorted(quarters.start_us, [span.start_us, span.stop_us])
    return Quarters(*(getattr(quarters, name)[first:after] for name in Quarters.__slots__))


def _replaced(quarters: Quarters, span: Span, by: Quarters) -> Quarters:
    first, after = np.searchsorted(quarters.start_us, [span.start_us, span.stop_us])
    columns = ((getattr(quarters, name), getattr(by, name)) for name in Quarters.__slots__)
    return Quarters(*(np.concatenate([old[:first], new, old[after:]]) for old, new in columns))


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


def rows_of(changes: Changes) -> tuple[Quarter, ...]:
    """Return rows in order of time: new, changed and removed quarters."""
    quarters = changes.quarters
    rows = [
        (start, Quarter(start_text(start), kwh, _quality(covered, estimated), round(covered, _PLACES), negative))
        for start, kwh, covered, estimated, negative in zip(
            quarters.start_us.tolist(),
            quarters.kwh.tolist(),
            quarters.coverage.tolist(),
            quarters.is_estimated.tolist(),
            quarters.is_negative.tolist(),
            strict=True,
        )
    ]
    rows += [(start, Quarter(start_text(start), None, GONE, 0.0)) for start in changes.removed_us]
    return tuple(row for _, row in sorted(rows, key=lambda each: each[0]))


def quarters_of(rows: list[dict[str, Any]]) -> Quarters:
    """Return the quarters of rows of `energy_interval`: `start_us`, `kwh`, `coverage`, `quality`, `negative`."""
    ordered = sorted(rows, key=lambda row: int(row["start_us"]))
    return Quarters(
        np.array([row["start_us"] for row in ordered], dtype=np.int64),
        np.array([row["kwh"] for row in ordered], dtype=np.float64),
        np.array([row["coverage"] for row in ordered], dtype=np.float64),
        np.array([row["quality"] == ESTIMATED for row in ordered], dtype=bool),
        np.array([bool(row["negative"]) for row in ordered], dtype=bool),
    )


def _quality(coverage: float, is_estimated: bool) -> str:
    if coverage < FULL:
        return PARTIAL
    return ESTIMATED if is_estimated else MEASURED


def start_text(start_us: int) -> str:
    """Return the beginning of a quarter as published, such as `2018-08-24T00:15:00Z`."""
    return datetime.fromtimestamp(start_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
