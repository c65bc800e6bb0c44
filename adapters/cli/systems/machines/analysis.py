"""`scaup machines analyze`: the recorded series of a field, and its picture with the anomalies."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapters.cli.notices import warn
from adapters.cli.output.charts import png_chart
from adapters.client.errors import Failed
from adapters.client.session import Session
from broker.contract.machines import questions as machines_sql

_LINE, _MEAN, _BAND, _ANOMALY = "#2b6cb0", "#4a5568", "#e2e8f0", "#c53030"


def read_series(session: Session, machine: int, field: str, since_at: datetime) -> list[tuple[str, float]]:
    """Return the timestamps and numbers of a field; readings without a number are counted on standard error.

    Raises:
        Failed: no reading has a number in it.
    """
    from adapters.client.answers import arrow_request

    statement = machines_sql.series(str(machine), field, since_at)
    with session.query(arrow_request(statement.sql, statement.parameters, None, None)) as answer:
        rows = list(answer.rows.rows())
        truncated = answer.truncated
    data = [(str(timestamp), value) for timestamp, value in rows if value is not None]
    if not data:
        what = f"{len(rows)} readings, and none has a number in {field!r}" if rows else "no reading"
        raise Failed(
            f"machine {machine}, since {since_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z: {what}",
            "go further back with --since, see scaup machines list, or name another --field",
        )
    if len(data) < len(rows):
        warn(f"{len(rows) - len(data)} of {len(rows)} readings have no number in {field!r}: left out")
    if truncated:
        warn(f"there are more than {len(rows)} readings: only the oldest are analyzed; shorten --since")
    return data


def without_infinity(result: dict[str, Any]) -> dict[str, Any]:
    """Replace NaN and infinity, which JSON does not have, by null."""

    def plain(value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    anomalies = [{name: plain(value) for name, value in each.items()} for each in result["anomalies"]]
    return {**{name: plain(value) for name, value in result.items()}, "anomalies": anomalies}


def draw(path: Path, title: str, unit: str, data: list[tuple[str, float]], analysis: dict[str, Any], threshold: float) -> None:
    """Draw values over time as PNG, with their average, the band of usual values and the anomalies marked.

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
    """Read a timestamp; None for one that cannot be read: its reading is not drawn."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
