"""The charts of `scaup energy show`: a period in text for the terminal, and as PNG."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from adapters.cli.output.charts import png_chart, text_chart
from adapters.cli.systems.energy.period import QUARTER, ShipPeriod, ShipQuarter

LABELS = 8
"""Width of the labels on the left."""
_MWH_FROM = 1_000.0
"""kWh from which on the scale is in MWh, so that its labels fit."""
LEGEND = "! anomaly, p partly covered, e estimated, - missing"
_COLOURS = {"measured": "#2b6cb0", "estimated": "#63b3ed", "partial": "#dd6b20"}
_ANOMALY, _MISSING = "#c53030", "#fed7d7"
_LABELS = {"measured": "measured", "estimated": "estimated: longer readings, split", "partial": "partly covered"}


def text_lines(period: ShipPeriod, width: int) -> list[str]:
    """Draw a period in lines of at most `width` characters: title, chart, marks, times.

    A column stands for one or several quarters; gaps are empty.
    """
    columns = _columns(period, max(1, width - LABELS))
    means = [_mean(each) for each in columns]
    present = [value for value in means if value is not None]
    in_mwh = bool(present) and (max(present) >= _MWH_FROM or min(present) <= -_MWH_FROM / 10)
    values = [None if value is None else value / (_MWH_FROM if in_mwh else 1.0) for value in means]
    marks = "".join(_mark(each) for each in columns)
    unit = "MWh" if in_mwh else "kWh"
    title = f"ship {period.ship}: • {unit} per quarter of an hour, mean of {_per_column(period, len(columns))}"
    lines = [*text_chart(values, [None] * len(values)), *_below(marks), _times(period, len(columns))]
    return [title[:width], *(line[:width] for line in lines)]


def _columns(period: ShipPeriod, width: int) -> list[list[ShipQuarter]]:
    """Return the quarters of each column: at most `width` columns, and at most one column per quarter."""
    count = period.count
    columns: list[list[ShipQuarter]] = [[] for _ in range(min(width, count))]
    for each in period.quarters:
        place = (each.start_at - period.since_at) // QUARTER
        columns[min(max(place, 0) * len(columns) // count, len(columns) - 1)].append(each)
    return columns


def _mean(quarters: Sequence[ShipQuarter]) -> float | None:
    """Return the mean; if there are anomalies, the one farthest from it, so that it can be seen."""
    known = [each.kwh for each in quarters if each.kwh is not None]
    if not known:
        return None
    mean = sum(known) / len(known)
    unusual = [each.kwh for each in quarters if each.anomalies and each.kwh is not None]
    return max(unusual, key=lambda value: abs(value - mean)) if unusual else mean


def _mark(quarters: Sequence[ShipQuarter]) -> str:
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


def _times(period: ShipPeriod, width: int) -> str:
    first, last = _text(period.since_at), _text(period.until_at)
    gap = width - len(first) - len(last)
    return f"{'':{LABELS}}{first}{' ' * gap}{last}" if gap > 0 else f"{'':{LABELS}}{first}"


def _per_column(period: ShipPeriod, columns: int) -> str:
    minutes = period.count / columns * 15
    if minutes <= 15:
        return "15 min a column"
    return f"{minutes / 60:.3g} h a column" if minutes > 60 else f"{minutes:.3g} min a column"


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%MZ}"


def write_png(path: Path, period: ShipPeriod) -> None:
    """Draw the energy of each quarter as PNG, in the colour of its quality, with gaps shaded and anomalies marked.

    Raises:
        Failed: it cannot be drawn or written.
    """
    with png_chart(path, f"ship {period.ship}: {period.kwh:,.6g} kWh", "kWh per quarter of an hour") as axes:
        _draw_gaps(axes, period)
        for quality in _COLOURS:
            _draw_quality(axes, period, quality)
        _draw_anomalies(axes, period)
        axes.set_xlim(period.since_at, period.until_at)


def _draw_quality(axes: Any, period: ShipPeriod, quality: str) -> None:
    """Draw the quarters of one quality as filled steps, with nothing between them."""
    chosen = [each for each in period.known if each.quality == quality]
    if not chosen:
        return
    times, values = _steps(chosen)
    colour = _COLOURS[quality]
    axes.fill_between(times, values, step="post", color=colour, alpha=0.5 if quality == "partial" else 0.25, linewidth=0)
    axes.plot(times, values, drawstyle="steps-post", color=colour, linewidth=1.2, label=_LABELS[quality])


def _steps(quarters: list[ShipQuarter]) -> tuple[list[datetime], list[float]]:
    """Return the corners of steps; a stretch of quarters ends with its last value, then NaN."""
    times: list[datetime] = []
    values: list[float] = []
    for each, following in zip(quarters, [*quarters[1:], None], strict=True):
        end_at, kwh = each.start_at + QUARTER, float(each.kwh or 0.0)
        times.append(each.start_at)
        values.append(kwh)
        if following is None or following.start_at != end_at:
            times += [end_at, end_at]
            values += [kwh, float("nan")]
    return times, values


def _draw_gaps(axes: Any, period: ShipPeriod) -> None:
    """Shade all gaps as one shape: there may be thousands."""
    ends = [period.since_at, *(each.start_at + QUARTER for each in period.known)]
    starts = [*(each.start_at for each in period.known), period.until_at]
    gaps = [(end_at, start_at - end_at) for end_at, start_at in zip(ends, starts, strict=True) if start_at > end_at]
    if gaps:
        whole_height = axes.get_xaxis_transform()
        axes.broken_barh(gaps, (0, 1), transform=whole_height, color=_MISSING, linewidth=0, zorder=0, label="missing")


def _draw_anomalies(axes: Any, period: ShipPeriod) -> None:
    found = [each for each in period.known if each.anomalies]
    if found:
        times, values = [each.start_at + QUARTER / 2 for each in found], [each.kwh for each in found]
        axes.scatter(
            times, values, color=_ANOMALY, s=22, zorder=3, label=f"{len(found)} anomal{'y' if len(found) == 1 else 'ies'}"
        )
    for each in found[:12]:
        kinds = ", ".join(anomaly.kind for anomaly in each.anomalies)
        axes.annotate(kinds, (each.start_at + QUARTER / 2, each.kwh), (5, 5), textcoords="offset points", fontsize="small")
