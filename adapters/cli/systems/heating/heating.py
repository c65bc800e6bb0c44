"""`scaup heating`: Heating: control quality of the rooms, and their setpoints."""

import shutil
import sys
from collections.abc import Iterable
from datetime import datetime
from operator import itemgetter
from typing import Any

import click
import orjson

from adapters.cli.notices import warn
from adapters.cli.options import Instant, RoomName, examples, output_options
from adapters.cli.output.charts import bars, text_chart
from adapters.cli.output.destination import Columns, Output
from adapters.cli.output.formats import Format
from adapters.client.errors import Failed
from adapters.client.rows import Rows
from adapters.client.session import Session, rows_of
from broker.contract.heating import questions as heating_sql
from broker.contract.heating.topics import HIGHEST_SETPOINT_C, LOWEST_SETPOINT_C, SETPOINT, STATE, Setpoint
from broker.errors import Rejected
from broker.message import decode_json

_MOST_CHARTS = 3
_LABELS = 10
_FOR_PEOPLE: Columns = {
    "room": itemgetter("room"),
    "°C": itemgetter("temperature_c"),
    "set": itemgetter("setpoint_c"),
    "valve": itemgetter("level_pct"),
    "mode": itemgetter("mode"),
    "min": itemgetter("min_c"),
    "mean": itemgetter("mean_c"),
    "max": itemgetter("max_c"),
    "in band": lambda row: f"{row['in_band_pct']} %",
    "RMS": itemgetter("rms_k"),
    "travel": itemgetter("travel_pct"),
    "look at": lambda row: attention(row["left_out"], row["alarms"]),
}
"""The columns of a table, short enough for a terminal."""


@click.group(epilog=examples("scaup heating report"))
def heating() -> None:
    """Heating: control quality of the rooms, and their setpoints."""


@heating.command(epilog=examples("scaup heating report", "scaup heating report room-1 --since 10m"))
@click.argument("room", required=False, type=RoomName())
@click.option(
    "--since", "since_at", type=Instant(), default="1h", show_default=True, help="Wall time at which the period begins."
)
@output_options
@click.pass_obj
def report(session: Session, room: str | None, since_at: datetime, output: Output) -> None:
    """Show the state of the rooms, and how well they were held at their setpoint.

    For each room, or for ROOM only: the present temperature, setpoint, valve level, mode, left-out sensors and alarms; over the
    period the lowest, mean and highest temperature, the share of time within 0.5 °C of the setpoint, the RMS error, the valve's
    travel (the sum of its movements) and the changes of mode. All are weighted by plant time: at scale 60 an hour shows 60
    hours. The time between two starts of the controller is not counted.
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
    output.write_dicts(rows, _FOR_PEOPLE)
    if output.format is Format.TABLE and output.on_terminal and len(rows) <= _MOST_CHARTS:
        _draw(session, room, since_at)


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


def attention(left_out: Any, alarms: Any) -> str:
    """Return left-out sensors and alarms on one line: `sensor-2 stuck, no trustworthy sensor`."""
    sensors = [f"{name} {reason}" for name, reason in left_out.items()] if isinstance(left_out, dict) else []
    return ", ".join([*sensors, *map(str, alarms if isinstance(alarms, list) else [])])


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
