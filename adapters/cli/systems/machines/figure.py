"""A picture of a series with its anomalies: PNG, drawn by matplotlib without a display."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapters.cli.output.charts import png_chart

_LINE, _MEAN, _BAND, _ANOMALY = "#2b6cb0", "#4a5568", "#e2e8f0", "#c53030"


def draw(path: Path, title: str, unit: str, data: list[tuple[str, float]], analysis: dict[str, Any], threshold: float) -> None:
    """Write the picture: values over time, their average with the band inside which they are usual, anomalies marked.

    Raises:
        Failed: it cannot be drawn or written.
    """
    with png_chart(path, title, unit) as axes:
        average = analysis["average"]
        limit = threshold * abs(average)
        axes.axhspan(average - limit, average + limit, color=_BAND, zorder=0, label=f"average ± {100 * threshold:g} %")
        axes.axhline(average, color=_MEAN, linestyle="--", linewidth=1, label=f"average {average:.2f}")
        usual = sorted(_points(data))
        axes.plot([at for at, _ in usual], [value for _, value in usual], color=_LINE, linewidth=1.2, label="readings")
        found = _points([(each["timestamp"], each["value"]) for each in analysis["anomalies"]])
        axes.scatter(
            [at for at, _ in found], [value for _, value in found], color=_ANOMALY, s=18, zorder=3, label=_counted(found)
        )


def _points(data: list[tuple[str, float]]) -> list[tuple[datetime, float]]:
    placed = ((_instant(timestamp), value) for timestamp, value in data if math.isfinite(value))
    return [(instant, value) for instant, value in placed if instant is not None]


def _counted(found: list[Any]) -> str:
    return f"{len(found)} anomal{'y' if len(found) == 1 else 'ies'}"


def _instant(text: str) -> datetime | None:
    """Read a timestamp; a reading whose timestamp says nothing has no place in the picture."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
