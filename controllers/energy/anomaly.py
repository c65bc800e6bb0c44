"""Anomalies in a ship's quarters, judged by the ship's own history. Pure and vectorised.

- `outlier`: a fully covered quarter x whose distance from the median m of the same quarter of the day is more than a limit:

      |x - m| > max(6 × 1.4826 × MAD, 0.25 × |m|, 0.1 × the ship's usual quarter, 0.05 kWh)

  MAD is the median of |xᵢ - m|, and 1.4826 × MAD estimates the standard deviation of normally distributed values (F. R. Hampel,
  "The influence curve and its role in robust estimation", 1974); to judge by median and MAD is the rule of B. Iglewicz and
  D. C. Hoaglin, "How to Detect and Handle Outliers", 1993. The other terms prevent a flat profile, whose MAD is 0, from
  raising an alarm at every watt. The xᵢ are those of the quarter's own four weeks and of the four before, at least six of
  them, x included.
- `missing`: quarters without data between quarters with data; one anomaly for each gap.
- `flat`: the same value, not 0, in at least a dozen measured quarters in a row whose usual values differ: a stuck meter.
- `negative`: a quarter to which a reading below 0 contributes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from controllers.energy.interval import DAY_US, Flags, Times
from controllers.energy.quarters import FULL, QUARTER_US, Quarters, Values

OUTLIER, MISSING, FLAT, NEGATIVE = "outlier", "missing", "flat", "negative"

SLOTS = DAY_US // QUARTER_US
WEEKS_US = 28 * DAY_US
FEWEST_DAYS = 6
"""Days on which a quarter of the day must be known before it has a usual value."""
DEVIATIONS = 6.0
SIGMA_PER_MAD = 1.4826
LEAST_SHARE = 0.25
LEAST_SHARE_OF_SHIP = 0.1
LEAST_KWH = 0.05
FLAT_QUARTERS = 12
FLAT_SHARE = 0.05
"""Usual values that differ by less than this share of them are themselves flat."""
MOST_AT_ONCE = 1_000
MOST_REPORTED = 10_000

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Unusual:
    """An anomaly that begins with the quarter at `start_us`; kWh are None without a value, or without a usual value."""

    start_us: int
    kind: str
    kwh: float | None
    expected_kwh: float | None
    text: str


def anomalies(quarters: Quarters, changed_from_us: int, changed_until_us: int) -> list[Unusual]:
    """Return the anomalies of quarters that begin in `[changed_from_us, changed_until_us)`, in order of time.

    A gap belongs to the range if it overlaps or touches it, a flat stretch if it overlaps it; either may begin before the
    range. At most the latest thousand are returned.

    Args:
        quarters: all n quarters of the ship, in order, n ≥ 0.
        changed_from_us: beginning of the range, µs since 1970.
        changed_until_us: its end.
    """
    usual = _Usual(quarters)
    first, stop = np.searchsorted(quarters.start_us, [changed_from_us, changed_until_us]).tolist()
    found = [
        *_missing(usual, changed_from_us, changed_until_us),
        *_outliers(usual, first, stop),
        *_flat(usual, first, stop),
        *_negative(usual, first, stop),
    ]
    return sorted(found, key=lambda each: (each.start_us, each.kind))[-MOST_AT_ONCE:]


@dataclass(slots=True)
class ReportedAnomalies:
    """The anomalies of one ship that were published, so that each is published once, unless it disappears and returns."""

    _reported: set[tuple[int, str]] = field(default_factory=set)

    def add(self, reported: Iterable[tuple[int, str]]) -> None:
        """Add anomalies that were published earlier: beginnings, µs since 1970, and kinds."""
        self._reported |= set(reported)

    def new(self, found: Iterable[Unusual], changed_from_us: int, changed_until_us: int) -> list[Unusual]:
        """Return the anomalies that were not published yet.

        Args:
            found: the result of `anomalies` for that range.
            changed_from_us: beginning of the range, µs since 1970.
            changed_until_us: its end. Published anomalies in the range that are not found any more are removed.
        """
        present = {(each.start_us, each.kind): each for each in found}
        ended = {key for key in self._reported if changed_from_us <= key[0] < changed_until_us and key not in present}
        new = [each for key, each in present.items() if key not in self._reported]
        self._reported = (self._reported - ended) | set(present)
        if len(self._reported) > MOST_REPORTED:
            self._reported = set(sorted(self._reported)[-MOST_REPORTED:])
        return new


class _Usual:
    """Usual values of the quarters of a day, by periods of four weeks; each is computed when first needed."""

    def __init__(self, quarters: Quarters) -> None:
        self.quarters = quarters
        self._periods: dict[int, tuple[Values, Values]] = {}

    def of(self, start_us: Times) -> tuple[Values, Values]:
        """Return median and limit, kWh, for n beginnings of quarters; NaN where there is no usual value."""
        expected, limit = np.full(len(start_us), np.nan), np.full(len(start_us), np.nan)
        period, slot = start_us // WEEKS_US, start_us // QUARTER_US % SLOTS
        for each in np.unique(period).tolist():
            chosen = period == each
            median, width = self._period(each)
            expected[chosen], limit[chosen] = median[slot[chosen]], width[slot[chosen]]
        return expected, limit

    def _period(self, number: int) -> tuple[Values, Values]:
        if number not in self._periods:
            begin_us = (number - 1) * WEEKS_US
            first, stop = np.searchsorted(self.quarters.start_us, [begin_us, begin_us + 2 * WEEKS_US]).tolist()
            start, kwh = self.quarters.start_us[first:stop], self.quarters.kwh[first:stop]
            whole = self.quarters.coverage[first:stop] >= FULL
            days = np.full((2 * WEEKS_US // DAY_US, SLOTS), np.nan)
            days[(start[whole] - begin_us) // DAY_US, start[whole] // QUARTER_US % SLOTS] = kwh[whole]
            self._periods[number] = _profile(days)
        return self._periods[number]


def _profile(days: Values) -> tuple[Values, Values]:
    """Return median and limit, kWh, for each quarter of the day; `days` are n days in kWh, NaN where nothing is known."""
    count = (~np.isnan(days)).sum(axis=0)
    median = _median(days, count)
    limit = DEVIATIONS * SIGMA_PER_MAD * _median(np.abs(days - median), count)
    known = median[~np.isnan(median)]
    of_ship = float(np.median(np.abs(known))) if len(known) else 0.0
    limit = np.maximum(limit, np.maximum(LEAST_SHARE * np.abs(median), max(LEAST_SHARE_OF_SHIP * of_ship, LEAST_KWH)))
    return median, limit


def _median(days: Values, count: Places) -> Values:
    """Return the median of each column, without its NaN; NaN where too few values are known."""
    ordered, column = np.sort(days, axis=0), np.arange(days.shape[1])
    upper = np.minimum(count // 2, len(days) - 1)
    middle: Values = (ordered[np.maximum(count - 1, 0) // 2, column] + ordered[upper, column]) / 2
    return np.where(count >= FEWEST_DAYS, middle, np.nan)


def _outliers(usual: _Usual, first: int, stop: int) -> Iterator[Unusual]:
    quarters = usual.quarters
    kwh = quarters.kwh[first:stop]
    expected, limit = usual.of(quarters.start_us[first:stop])
    far = (np.abs(kwh - expected) > limit) & (quarters.coverage[first:stop] >= FULL)
    for n in np.flatnonzero(far).tolist()[-MOST_AT_ONCE:]:
        text = f"{kwh[n]:.6g} kWh, usually {expected[n]:.6g} ± {limit[n]:.3g} kWh at this quarter of the day"
        yield Unusual(int(quarters.start_us[first + n]), OUTLIER, float(kwh[n]), float(expected[n]), text)


def _missing(usual: _Usual, from_us: int, until_us: int) -> Iterator[Unusual]:
    start = usual.quarters.start_us
    begin, end = start[:-1] + QUARTER_US, start[1:]
    gaps = np.flatnonzero((end > begin) & (end >= from_us) & (begin <= until_us))[-MOST_AT_ONCE:]
    begin, end = begin[gaps], end[gaps]
    counts, (expected, _) = (end - begin) // QUARTER_US, usual.of(begin)
    for start_us, count, median in zip(begin.tolist(), counts.tolist(), expected.tolist(), strict=True):
        text = f"{_counted(count)} missing, {_duration(count)}"
        yield Unusual(start_us, MISSING, None, _or_none(median), text)


def _flat(usual: _Usual, first: int, stop: int) -> Iterator[Unusual]:
    quarters = usual.quarters
    for begin, end in _stretches(quarters):
        if end <= first or begin >= stop:
            continue
        expected = usual.of(quarters.start_us[begin : min(end, begin + SLOTS)])[0]
        spread = float(np.ptp(expected))  # NaN if one of them is not known
        if spread > max(FLAT_SHARE * float(np.median(np.abs(expected))), LEAST_KWH):
            kwh = float(quarters.kwh[begin])
            text = f"{kwh:.6g} kWh in each of {FLAT_QUARTERS} quarters or more, whose usual values differ by {spread:.3g} kWh"
            yield Unusual(int(quarters.start_us[begin]), FLAT, kwh, _or_none(float(expected[0])), text)


def _stretches(quarters: Quarters) -> list[tuple[int, int]]:
    """Return begin and end of each long stretch of measured quarters with the same value that is not 0."""
    measured: Flags = (quarters.coverage >= FULL) & ~quarters.is_estimated & (quarters.kwh != 0)
    same = np.isclose(quarters.kwh[1:], quarters.kwh[:-1], rtol=1e-9, atol=0) & (np.diff(quarters.start_us) == QUARTER_US)
    same &= measured[1:] & measured[:-1]
    edges = np.diff(np.concatenate([[False], same, [False]]).astype(np.int8))
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) + 1
    long = ends - begins >= FLAT_QUARTERS
    return list(zip(begins[long].tolist(), ends[long].tolist(), strict=True))


def _negative(usual: _Usual, first: int, stop: int) -> Iterator[Unusual]:
    quarters = usual.quarters
    places = first + np.flatnonzero(quarters.is_negative[first:stop])[-MOST_AT_ONCE:]
    start, (expected, _) = quarters.start_us[places], usual.of(quarters.start_us[places])
    for start_us, kwh, median in zip(start.tolist(), quarters.kwh[places].tolist(), expected.tolist(), strict=True):
        yield Unusual(start_us, NEGATIVE, kwh, _or_none(median), "a reading below 0 contributes to it")


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def _counted(count: int) -> str:
    return "1 quarter" if count == 1 else f"{count} quarters"


def _duration(count: int) -> str:
    days, rest = divmod(count, SLOTS)
    clock = f"{rest // 4}:{rest % 4 * 15:02} h"
    return f"{days} d {clock}" if days else clock
