"""`scaup heating`: Heating: control quality of the rooms, and their setpoints."""

import shutil
import sys
import textwrap
from collections.abc import Iterable
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

import click
import orjson

from adapters.cli.notices import hint, warn
from adapters.cli.options import Instant, RoomName, examples, output_options
from adapters.cli.output.charts import bars, png_chart, text_chart
from adapters.cli.output.destination import Columns, Output
from adapters.cli.output.formats import Format
from adapters.cli.systems.heating.limits import limits
from adapters.client.errors import Failed
from adapters.client.rows import Rows
from adapters.client.session import Session, rows_of
from broker.contract.heating import questions as heating_sql
from broker.contract.heating.topics import HIGHEST_SETPOINT_C, LOWEST_SETPOINT_C, SETPOINT, STATE, Setpoint
from broker.errors import Rejected
from broker.message import decode_json

_MOST_CHARTS = 3
_LABELS = 10
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))
_MOST_LINES, _PNG_POINTS = 10, 1_000
_ALL_KNOWN_PCT = 99.9
_SILENT_S = 300.0
"""Wall seconds without a state after which what is shown is no longer the present."""
_FOR_PEOPLE: Columns = {
    "room": itemgetter("room"),
    "°C": lambda row: "–" if row["temperature_c"] is None else row["temperature_c"],
    "set": itemgetter("setpoint_c"),
    "valve": itemgetter("level_pct"),
    "mode": itemgetter("mode"),
    "min": lambda row: _rounded(row["min_c"], 1),
    "mean": lambda row: _rounded(row["mean_c"], 1),
    "max": lambda row: _rounded(row["max_c"], 1),
    "in band": lambda row: _in_band(row["in_band_pct"], row["known_pct"]),
    "RMS": lambda row: _rounded(row["rms_k"], 2),
    "travel": itemgetter("travel_pct"),
}
"""The columns of a table that fits 80 columns; what to look at follows it, in words."""


@click.group(epilog=examples("scaup heating report"))
def heating() -> None:
    """Heating: control quality of the rooms, and their setpoints."""


@heating.command(epilog=examples("scaup heating report", "scaup heating report room-1 --since 10m --png room.png"))
@click.argument("room", required=False, type=RoomName())
@click.option(
    "--since", "since_at", type=Instant(), default="1h", show_default=True, help="Wall time at which the period begins."
)
@click.option("--png", type=click.Path(dir_okay=False, path_type=Path), help="Also draw the period here.")
@output_options
@click.pass_obj
def report(session: Session, room: str | None, since_at: datetime, png: Path | None, output: Output) -> None:
    """Show the state of the rooms, and how well they were held at their setpoint.

    For each room, or for ROOM only: the present temperature, setpoint, valve level, mode, left-out sensors and alarms; over the
    period the lowest, mean and highest temperature, the share of the known time within 0.5 °C of the setpoint, the share of
    time in which the temperature was known, the RMS error, the valve's travel (the sum of its movements), the changes of mode,
    and what limits the room, in words: dead time, too little power, heat from elsewhere, an opened window, sensors.

    All are weighted by plant time: at scale 60 an hour shows 60 hours. The time between two starts of the controller is not
    counted. Without a trusted sensor there is no present temperature; age_s is the age of the last state in wall seconds.
    """
    statement = heating_sql.report(room, since_at)
    rows = rows_of(session, statement.sql, statement.parameters)
    if not rows:
        raise Failed(
            f"no state of {room or 'any room'} was recorded since {since_at:%Y-%m-%d %H:%M:%S}Z",
            "go further back with --since, or see `scaup status heating` and `scaup topics 'heating/#'`",
        )
    for each in rows:
        each.update({name: orjson.loads(each[name] or "null") for name in ("left_out", "alarms")})
        each["limits"] = limits(each)
        each["age_s"] = max(0, round((datetime.now(UTC) - each["to_at"]).total_seconds()))
    output.write_dicts(rows, _FOR_PEOPLE, [line for each in rows for line in remarks(each)])
    if output.format is Format.TABLE and output.on_terminal and len(rows) <= _MOST_CHARTS:
        _draw(session, room, since_at)
    if png is not None:
        _write_png(session, room, since_at, png)
        hint(f"drawn: {png}")


@heating.command(epilog=examples("scaup heating setpoint room-1 21.5"))
@click.argument("room", type=RoomName())
@click.argument("celsius", type=click.FloatRange(LOWEST_SETPOINT_C, HIGHEST_SETPOINT_C))
@output_options
@click.pass_obj
def setpoint(session: Session, room: str, celsius: float, output: Output) -> None:
    """Set the setpoint of a room, from 5 to 35 °C.

    The value is retained: it stays until it is changed, also over restarts. Exits with 4 if the broker refuses it.
    """
    if celsius != celsius:  # NaN passes every comparison of a range
        raise click.BadParameter("not a number", param_hint="CELSIUS")
    with session.bus() as bus:
        topics = SETPOINT.template.topic(room=room), STATE.template.topic(room=room)
        retained = bus.retained(*topics)
        bus.publish(SETPOINT.publication(Setpoint(celsius=celsius), room=room))
    before = [
        _number(retained[topic].payload, key)
        for topic, key in zip(topics, ("celsius", "setpoint"), strict=True)
        if topic in retained
    ]
    if topics[1] not in retained:
        warn(f"no controller has published a state of {room} yet: the setpoint waits for one")
    old = next((value for value in before if value is not None), None)
    output.write(Rows(("room", "old_c", "new_c"), [(room, old, celsius)]))


def remarks(row: dict[str, Any]) -> list[str]:
    """Return what is to be known about a room, in lines of at most 80 columns; none if there is nothing."""
    found = [*filter(None, (silence(row["age_s"]), attention(row["left_out"], row["alarms"]))), *row["limits"]]
    return textwrap.wrap(f"{row['room']}: {', '.join(found)}", 80, subsequent_indent="  ") if found else []


def attention(left_out: Any, alarms: Any) -> str:
    """Return left-out sensors and alarms on one line: `sensor-2 stuck, no trustworthy sensor`."""
    sensors = [f"{name} {reason}" for name, reason in left_out.items()] if isinstance(left_out, dict) else []
    return ", ".join([*sensors, *map(str, alarms if isinstance(alarms, list) else [])])


def silence(age_s: float) -> str:
    """Return how long ago the last state came, empty if it is recent: `last state 2 h ago`."""
    if age_s < _SILENT_S:
        return ""
    size_s, unit = next(each for each in _UNITS if age_s >= 2 * each[0])
    return f"last state {age_s / size_s:.0f} {unit} ago"


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _in_band(in_band_pct: float | None, known_pct: float) -> str:
    """Return the share of the known time, with the share that is known unless it is all."""
    share = "–" if in_band_pct is None else f"{in_band_pct} %"
    return share if known_pct > _ALL_KNOWN_PCT else f"{share} of {known_pct} %"


def _number(payload: bytes, key: str) -> float | None:
    try:
        value = decode_json(payload)
    except Rejected:
        return None
    found = value.get(key) if isinstance(value, dict) else None
    return float(found) if isinstance(found, (int, float)) else None


def _draw(session: Session, room: str | None, since_at: datetime) -> None:
    width = max(20, shutil.get_terminal_size().columns - _LABELS)
    statement = heating_sql.series(room, since_at, width)
    found = rows_of(session, statement.sql, statement.parameters)
    for name in dict.fromkeys(str(each["room"]) for each in found):
        lines = room_chart(width, (each for each in found if each["room"] == name))
        sys.stdout.write("\n".join(["", f"{name}: • temperature, ─ setpoint, in °C", *lines, ""]))
    sys.stdout.flush()


def room_chart(width: int, points: Iterable[dict[str, Any]]) -> list[str]:
    """Draw one room from rows with `point` (0..width-1), `celsius`, `setpoint` and `level`."""
    by_point = {int(each["point"]): each for each in points}
    columns = [by_point.get(number, {}) for number in range(width)]
    temperatures, setpoints, levels = ([each.get(key) for each in columns] for key in ("celsius", "setpoint", "level"))
    return [*text_chart(temperatures, setpoints), bars(levels)]


def _write_png(session: Session, room: str | None, since_at: datetime, path: Path) -> None:
    """Draw each room's temperature; of a single room also setpoint and valve level.

    Raises:
        Failed: there are too many rooms, it cannot be drawn or written.
    """
    statement = heating_sql.series(room, since_at, _PNG_POINTS)
    found = sorted(rows_of(session, statement.sql, statement.parameters), key=itemgetter("point"))
    rooms = sorted({str(each["room"]) for each in found})
    if len(rooms) > _MOST_LINES:
        raise Failed(f"{len(rooms)} rooms do not fit into one picture: at most {_MOST_LINES}", "name a ROOM")
    with png_chart(path, "Heating" if len(rooms) > 1 else rooms[0], "°C") as axes:
        for name in rooms:
            points = [each for each in found if each["room"] == name]
            times = [each["at"] for each in points]
            axes.plot(times, _values(points, "celsius"), linewidth=1.2, label=name if len(rooms) > 1 else "temperature")
            if len(rooms) == 1:
                axes.plot(times, _values(points, "setpoint"), linestyle="--", linewidth=1.0, color="gray", label="setpoint")
                valve = axes.twinx()
                valve.fill_between(times, _values(points, "level"), step="post", alpha=0.15, color="tab:red", linewidth=0)
                valve.set(ylim=(0, 100), ylabel="valve, %")


def _values(points: Iterable[dict[str, Any]], key: str) -> list[float]:
    return [float("nan") if each[key] is None else float(each[key]) for each in points]
