"""A picture of a ship's energy: PNG, drawn by matplotlib without a display."""

from datetime import datetime
from pathlib import Path
from typing import Any

from adapters.cli.output.charts import png_chart
from adapters.cli.systems.energy.period import QUARTER, Period, Quarter

_COLOURS = {"measured": "#2b6cb0", "estimated": "#63b3ed", "partial": "#dd6b20"}
_ANOMALY, _MISSING = "#c53030", "#fed7d7"
_LABELS = {"measured": "measured", "estimated": "estimated: longer readings, split", "partial": "partly covered"}


def draw(path: Path, period: Period) -> None:
    """Write the picture: the energy of each quarter in the colour of its quality, gaps shaded, anomalies marked.

    Raises:
        Failed: it cannot be drawn or written.
    """
    with png_chart(path, f"ship {period.ship}: {period.kwh:,.6g} kWh", "kWh per quarter of an hour") as axes:
        _draw_gaps(axes, period)
        for quality in _COLOURS:
            _draw_quality(axes, period, quality)
        _draw_anomalies(axes, period)
        axes.set_xlim(period.since_at, period.until_at)


def _draw_quality(axes: Any, period: Period, quality: str) -> None:
    """Draw the quarters of one quality as filled steps; what lies between them stays empty."""
    chosen = [each for each in period.known if each.quality == quality]
    if not chosen:
        return
    times, values = _steps(chosen)
    colour = _COLOURS[quality]
    axes.fill_between(times, values, step="post", color=colour, alpha=0.5 if quality == "partial" else 0.25, linewidth=0)
    axes.plot(times, values, drawstyle="steps-post", color=colour, linewidth=1.2, label=_LABELS[quality])


def _steps(quarters: list[Quarter]) -> tuple[list[datetime], list[float]]:
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


def _draw_gaps(axes: Any, period: Period) -> None:
    """Shade what is missing, as one shape: there may be thousands of gaps."""
    ends = [period.since_at, *(each.start_at + QUARTER for each in period.known)]
    starts = [*(each.start_at for each in period.known), period.until_at]
    gaps = [(end_at, start_at - end_at) for end_at, start_at in zip(ends, starts, strict=True) if start_at > end_at]
    if gaps:
        whole_height = axes.get_xaxis_transform()
        axes.broken_barh(gaps, (0, 1), transform=whole_height, color=_MISSING, linewidth=0, zorder=0, label="missing")


def _draw_anomalies(axes: Any, period: Period) -> None:
    found = [each for each in period.known if each.anomalies]
    if found:
        times, values = [each.start_at + QUARTER / 2 for each in found], [each.kwh for each in found]
        axes.scatter(
            times, values, color=_ANOMALY, s=22, zorder=3, label=f"{len(found)} anomal{'y' if len(found) == 1 else 'ies'}"
        )
    for each in found[:12]:
        kinds = ", ".join(anomaly.kind for anomaly in each.anomalies)
        axes.annotate(kinds, (each.start_at + QUARTER / 2, each.kwh), (5, 5), textcoords="offset points", fontsize="small")
