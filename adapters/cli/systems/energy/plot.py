"""A period as a plot in text: one column for one or several quarters, gaps empty, and a row of marks below."""

from collections.abc import Sequence
from datetime import datetime

from adapters.cli.output.charts import text_chart
from adapters.cli.systems.energy.period import QUARTER, Period, Quarter

LABELS = 8
"""Width of what stands left of the plot."""
_SHORT = 1_000.0
"""kWh from which on the scale is in MWh, so that its labels fit."""
LEGEND = "! anomaly, p partly covered, e estimated, - missing"


def plot(period: Period, width: int) -> list[str]:
    """Draw a period in lines of at most `width` characters: title, plot, marks, times."""
    columns = _columns(period, max(1, width - LABELS))
    means = [_mean(each) for each in columns]
    present = [value for value in means if value is not None]
    in_mwh = bool(present) and (max(present) >= _SHORT or min(present) <= -_SHORT / 10)
    values = [None if value is None else value / (_SHORT if in_mwh else 1.0) for value in means]
    marks = "".join(_mark(each) for each in columns)
    unit = "MWh" if in_mwh else "kWh"
    title = f"ship {period.ship}: • {unit} per quarter of an hour, mean of {_per_column(period, len(columns))}"
    lines = [*text_chart(values, [None] * len(values)), *_below(marks), _times(period, len(columns))]
    return [title[:width], *(line[:width] for line in lines)]


def _columns(period: Period, width: int) -> list[list[Quarter]]:
    """Return the quarters of each column; as few columns as there are quarters, stretched where there is place."""
    count = period.count
    columns: list[list[Quarter]] = [[] for _ in range(min(width, count))]
    for each in period.quarters:
        place = (each.start_at - period.since_at) // QUARTER
        columns[min(max(place, 0) * len(columns) // count, len(columns) - 1)].append(each)
    return columns


def _mean(quarters: Sequence[Quarter]) -> float | None:
    """Return the mean, or the value farthest from it that is an anomaly: it is what one looks for."""
    known = [each.kwh for each in quarters if each.kwh is not None]
    if not known:
        return None
    mean = sum(known) / len(known)
    unusual = [each.kwh for each in quarters if each.anomalies and each.kwh is not None]
    return max(unusual, key=lambda value: abs(value - mean)) if unusual else mean


def _mark(quarters: Sequence[Quarter]) -> str:
    if any(each.anomalies and each.kwh is not None for each in quarters):
        return "!"
    qualities = {each.quality for each in quarters if each.kwh is not None}
    if not qualities:
        return "-"
    return "p" if "partial" in qualities else "e" if "estimated" in qualities else " "


def _below(marks: str) -> list[str]:
    if not marks.strip():
        return []
    return [f"{'':{LABELS - 1}}│{marks}".rstrip(), f"{'':{LABELS}}{LEGEND}"]


def _times(period: Period, width: int) -> str:
    first, last = _text(period.since_at), _text(period.until_at)
    gap = width - len(first) - len(last)
    return f"{'':{LABELS}}{first}{' ' * gap}{last}" if gap > 0 else f"{'':{LABELS}}{first}"


def _per_column(period: Period, columns: int) -> str:
    minutes = period.count / columns * 15
    return (
        "15 min a column"
        if minutes <= 15
        else f"{minutes / 60:.3g} h a column"
        if minutes > 60
        else f"{minutes:.3g} min a column"
    )


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%MZ}"
