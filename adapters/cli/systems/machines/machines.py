"""`scaup machines`: Machines: their readings with moving averages, anomalies, and their job status."""

import math
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from adapters.cli.notices import hint, warn
from adapters.cli.options import examples, output_options, recorded_topics, since_option
from adapters.cli.output.destination import Columns, Output
from adapters.client.errors import ClientError, Failed
from adapters.client.rows import Rows
from adapters.client.session import Session, rows_of
from broker.contract.identifiers import number_of
from broker.contract.machines import questions as machines_sql
from broker.contract.machines.topics import AVERAGE, STATUS, MachineStatus, Status
from broker.errors import Rejected
from broker.message import decode_json

if TYPE_CHECKING:
    from adapters.cli.systems.machines.watch import SourceAverages

FIRST_MACHINE = 1
_SINCE = "Wall time at which the period begins."
_UNITS = {"temperature": "temperature, °C", "fan_speed": "fan speed, 1/min"}
_AVERAGES = ("average_temperature", "average_speed")
_FOR_PEOPLE: Columns = {
    "machine": itemgetter("machine"),
    "name": itemgetter("name"),
    "status": itemgetter("status"),
    "°C": itemgetter("temperature"),
    "mean °C": itemgetter("average_temperature"),
    "fan": itemgetter("fan_speed"),
    "mean fan": itemgetter("average_speed"),
    "readings": itemgetter("readings"),
    "last": itemgetter("received_at"),
}
"""The columns of a table, short enough for a terminal."""


class MachineId(click.ParamType):  # type: ignore[type-arg]
    """The number of a machine; completes those with recorded readings."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number; `007` is none, as in topics."""
        number = number_of(str(value))
        if number is None:
            self.fail(f"{value!r} is not the number of a machine, such as 7", param, ctx)
        return number

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:  # noqa: ARG002
        """Return the machines whose numbers begin as typed."""
        from click.shell_completion import CompletionItem

        session = ctx.find_object(Session) or Session()
        topics = recorded_topics(session, f"machines/{incomplete}")
        return [CompletionItem(topic.split("/")[1]) for topic in topics if topic.endswith("/reading")]


class JobStatus(click.Choice):  # type: ignore[type-arg]
    """A job status, in upper or lower case."""

    def __init__(self) -> None:
        super().__init__([each.value for each in Status], case_sensitive=False)


@click.group(epilog=examples("scaup machines watch 1", "scaup machines analyze 1 --since 1h"))
def machines() -> None:
    """Machines: their readings with moving averages, anomalies, and their job status."""


@machines.command(
    epilog=examples(
        "scaup machines watch", "scaup machines watch 1", "scaup machines watch --source http://127.0.0.1:5000/data --every 10"
    )
)
@click.argument("machine", metavar="[ID]", required=False, type=MachineId())
@click.option("--source", metavar="FILE|URL", help="Read this instead of the bus: JSON, one reading or an array of readings.")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(0.1, 86_400),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to read the source.",
)
@click.pass_obj
def watch(session: Session, machine: int | None, source: str | None, every_s: float) -> None:
    """Watch averaged readings as they arrive, one JSON object per line, until Ctrl-C.

    Each has the fields of the reading and the averages over the machine's last readings, to two decimals; where some of them
    have no number in a field, `left_out` counts them. ID selects one machine; without it, all are watched.

    A source that cannot be read is reported on standard error and read again later. The averages of a source are computed here,
    over the readings and fields that the settings of the moving average name; a reading that was there before counts once.
    """
    from adapters.cli.systems.machines.watch import watch_bus, watch_source

    if source is None:
        watch_bus(session, machine)
    else:
        watch_source(source, every_s, _source_averages(session, machine))


@machines.command(
    epilog=examples("scaup machines analyze", "scaup machines analyze 2 --field fan_speed --since 10m --png fan.png")
)
@click.argument("machine", metavar="[ID]", required=False, type=MachineId(), default=FIRST_MACHINE)
@click.option("--field", default="temperature", show_default=True, help="The numeric field of its readings to look at.")
@since_option(_SINCE, default="1h")
@click.option(
    "--threshold",
    type=float,
    default=0.2,
    show_default=True,
    help="An anomaly deviates from the average by more than this share of it.",
)
@click.option("--png", type=click.Path(dir_okay=False, path_type=Path), help="Also draw the series and its anomalies here.")
@click.pass_obj
def analyze(session: Session, machine: int, field: str, since_at: datetime, threshold: float, png: Path | None) -> None:
    """Analyze recorded readings: average, maximum, minimum and anomalies, as one JSON object.

    An anomaly deviates from the average by strictly more than the threshold times the average; `deviation` is the difference.
    ID selects the machine, 1 by default. Exits with 1 where no number was recorded.
    """
    from adapters.cli.systems.machines.analysis import draw, read_series, without_infinity
    from adapters.cli.systems.machines.watch import print_json
    from controllers.moving_average.analysis import analyze_values

    if not 0 <= threshold < math.inf:
        raise click.BadParameter(f"{threshold} is not a share of 0 or more", param_hint="--threshold")
    data = read_series(session, machine, field, since_at)
    result = analyze_values(data, threshold)
    print_json(without_infinity(result))
    if png is not None:
        draw(png, f"machine {machine}", _UNITS.get(field, field), data, result, threshold)
        hint(f"drawn: {png}")


@machines.command("set-status", epilog=examples("scaup machines set-status 1 completed"))
@click.argument("machine", metavar="ID", type=MachineId())
@click.argument("status", type=JobStatus())
@output_options
@click.pass_obj
def set_status(session: Session, machine: int, status: str, output: Output) -> None:
    """Set the job status of a machine: STARTED, ERROR, IDLE or COMPLETED, in any case.

    The machine's next readings have it, until it is set again. Exits with 4 where the broker refuses it.
    """
    wanted = Status(status.upper())
    topic = AVERAGE.template.topic(id=str(machine))
    with session.bus() as bus:
        known = bool(bus.retained(topic))
        bus.publish(STATUS.publication(MachineStatus(status=wanted), id=str(machine)))
    if not known and not _has_readings(session, machine):
        warn(f"no reading of machine {machine} was ever seen: perhaps no machine takes this status")
    output.write(Rows(("machine", "status"), [(machine, wanted.value)]))


@machines.command("list", epilog=examples("scaup machines list", "scaup machines list --since 10m -o csv"))
@since_option(_SINCE, default="1d")
@output_options
@click.pass_obj
def list_(session: Session, since_at: datetime, output: Output) -> None:
    """List the machines with recorded readings, and their latest reading and averages.

    Exits with 1 where there is none.
    """
    statement = machines_sql.latest(since_at)
    rows = [_listed(each) for each in rows_of(session, statement.sql, statement.parameters)]
    if not rows:
        raise Failed(
            f"no reading was recorded since {since_at:%Y-%m-%d %H:%M:%S}Z",
            "see scaup status sim-machines, or go back with --since",
        )
    output.write_dicts(rows, _FOR_PEOPLE)


def _listed(row: dict[str, Any]) -> dict[str, Any]:
    reading, average = _object(row["reading"]), _object(row["average"])
    fields = {name: _scalar(reading.get(name)) for name in ("name", "status", "temperature", "fan_speed", "timestamp")}
    means = {name: _rounded(average.get(name)) for name in _AVERAGES}
    return {"machine": row["machine"], **fields, **means, "readings": row["readings"], "received_at": row["received_at"]}


def _object(text: str | None) -> dict[str, Any]:
    try:
        found = decode_json((text or "null").encode())
    except Rejected:
        return {}
    return found if isinstance(found, dict) else {}


def _scalar(value: Any) -> Any:
    return orjson.dumps(value).decode() if isinstance(value, (dict, list)) else value


def _rounded(value: Any) -> Any:
    return round(value, 2) if isinstance(value, float) else _scalar(value)


def _has_readings(session: Session, machine: int) -> bool:
    """Ask the recording; if it cannot be asked, assume so."""
    statement = machines_sql.has_readings(str(machine))
    try:
        return bool(rows_of(session, statement.sql, statement.parameters))
    except ClientError:
        return True


def _source_averages(session: Session, machine: int | None) -> "SourceAverages":
    from adapters.cli.systems.machines.watch import SourceAverages
    from broker.runtime.settings import positive_int
    from controllers.moving_average.declaration import FIELDS, WINDOW
    from controllers.moving_average.reading import read_fields
    from controllers.moving_average.window import LONGEST_WINDOW

    length = positive_int(WINDOW.name, session.settings.value(WINDOW), LONGEST_WINDOW)
    return SourceAverages(machine, length, read_fields(FIELDS.name, session.settings.value(FIELDS)))
