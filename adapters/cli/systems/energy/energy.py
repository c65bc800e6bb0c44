"""`scaup energy`: Energy: import consumption data, and show it as kWh per quarter of an hour."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapters.cli.notices import hint
from adapters.cli.options import examples, output_options, recorded_topics
from adapters.cli.output.destination import Output
from adapters.cli.output.formats import Format
from adapters.client.errors import Failed
from adapters.client.rows import Rows
from adapters.client.session import Session, rows_of
from broker.contract.energy import questions as energy_sql
from broker.contract.energy.topics import RAW
from broker.errors import InvalidTopic

if TYPE_CHECKING:
    from adapters.cli.systems.energy.period import ShipPeriod, ShipQuarter
    from adapters.cli.systems.energy.posting import Poster
    from adapters.client.energy.files import Defaults
    from adapters.client.energy.outcome import Outcome

_LAST_ROWS = 24
"""Rows of a table on a terminal."""
_MOST_REPORTED = 10
_FOR_PEOPLE = ("start, UTC", "kWh", "quality", "coverage", "anomaly")
_COLUMNS = ("ship", "start_at", "kwh", "quality", "coverage", "negative", "revised_at", "anomaly", "expected_kwh", "text")
_PERIOD = "a time ago, counted back from the ship's last quarter (6h, 2d, 1w), or an ISO 8601 date or time"


class ShipName(click.ParamType):  # type: ignore[type-arg]
    """A ship: one level of a topic; completes those with recorded energy."""

    name = "ship"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return a name that can be a topic level, or fail."""
        try:
            RAW.template.topic(ship=value)
        except InvalidTopic:
            self.fail(f"{value!r} cannot be a ship: it is one level of a topic, such as 2", param, ctx)
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:  # noqa: ARG002
        """Return the ships whose names begin as typed."""
        from click.shell_completion import CompletionItem

        topics = recorded_topics(ctx.find_object(Session) or Session(), f"energy/{incomplete}")
        return [CompletionItem(topic.split("/")[1]) for topic in topics if topic.endswith("/interval")]


@click.group(epilog=examples("scaup energy ships", "scaup energy show 2 --since 7d", "scaup energy import readings.json"))
def energy() -> None:
    """Energy: import consumption data, and show it as kWh per quarter of an hour."""


@energy.command(
    "import",
    epilog=examples(
        "scaup energy import readings.json",
        "scaup energy import august.csv september.csv --ship 2 --units kW",
        "scaup energy import one-value.csv --ship 2 --units kWh --interval-minutes 60",
    ),
)
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--ship", type=ShipName(), help="The ship, where the file does not name it: CSV and Parquet.")
@click.option(
    "--units",
    type=click.Choice(["kW", "kWh"], case_sensitive=False),
    metavar="kW|kWh",
    help="The units, where the file does not name them.",
)
@click.option(
    "--interval-minutes",
    type=click.FloatRange(1, 1440),
    help="The time that each reading covers; needed only where their spacing does not show it.",
)
@click.option("--separator", type=click.Choice(["comma", "semicolon", "tab"]), help="CSV: what separates the columns.")
@click.option("--decimal", type=click.Choice(["comma", "point"]), help="CSV: the decimal mark.")
@click.option("--dates", type=click.Choice(["day-first", "month-first"]), help="CSV: how to read dates such as 03/04/2018.")
@output_options
@click.pass_obj
def import_(
    session: Session,
    files: tuple[Path, ...],
    ship: str | None,
    units: str | None,
    interval_minutes: float | None,
    separator: str | None,
    decimal: str | None,
    dates: str | None,
    output: Output,
) -> None:
    """Import consumption data from files, and report what was stored.

    \b
    JSON     {"spaceship_id":2,"units":"kW","data":[{"datetime":"2018-08-24T00:00:00Z","value":22}]},
             or an array of such objects
    CSV      with the header datetime,value or as utilities send it: Timestamp;Energy (kWh), decimal comma
    Parquet  with the columns datetime and value

    How a CSV file was read is reported; the options --separator, --decimal and --dates are needed only where it can be read in
    two ways. Times without a zone are UTC, and a date without a time is its midnight.

    Values that are not numbers are skipped, and reported with their row. A file is sent in posts of at most 50,000 values; a
    time that cannot be read refuses its whole post, and the other posts are stored. Importing a file again changes nothing.
    Exits with 1 where something was refused or a file stored nothing, and with 3 where the energy normalizer does not answer.
    """  # noqa: D301 - \b is click's own mark
    from adapters.cli.systems.energy.posting import Poster
    from adapters.client.energy.dialect import Forms
    from adapters.client.energy.files import Defaults

    defaults = Defaults(ship, units, interval_minutes, Forms(separator, decimal, dates))
    with session.bus() as bus:
        poster = Poster(bus)
        outcomes = [(path, _import(poster, path, defaults)) for path in files]
    rows = [(str(path), each.stored, len(each.skipped), len(each.refused)) for path, each in outcomes]
    output.write(Rows(("file", "stored", "skipped", "refused"), rows))
    if any(each.refused for _, each in outcomes):
        raise Failed("something was refused: see above", "correct it and import the file again; what is stored stays")
    if nothing := [path.name for path, each in outcomes if not each.stored]:
        raise Failed(f"nothing was stored from {', '.join(nothing)}", "no value in it is a number: see above, and correct them")


@energy.command(
    epilog=examples(
        "scaup energy show 2",
        "scaup energy show 2 --since 7d --anomalies --png week.png",
        "scaup energy show 2 --since 2018-08-24T00:00Z --until 2018-08-25T00:00Z -o csv",
    )
)
@click.argument("ship", type=ShipName())
@click.option("--since", default="1d", show_default=True, metavar="TIME", help=f"Beginning of the period: {_PERIOD}.")
@click.option("--until", metavar="TIME", help="Its end, likewise; without it, the end of the ship's last quarter.")
@click.option("--anomalies", is_flag=True, help="Only the quarters that are unusual or missing, with the reason.")
@click.option("--png", type=click.Path(dir_okay=False, path_type=Path), help="Also draw the period here.")
@output_options
@click.pass_obj
def show(session: Session, ship: str, since: str, until: str | None, anomalies: bool, png: Path | None, output: Output) -> None:
    """Show the energy of a ship per quarter of an hour, kWh.

    The period is in the time of the data, not of its arrival. A quarter without data has no row, and is a gap in the charts.
    On a terminal, the last 24 rows and a chart are shown; every other format has all rows. Exits with 1 where the period has no
    data.
    """
    from adapters.cli.systems.energy.period import read

    period = read(session, ship, since, until)
    chosen = [each for each in period.quarters if each.anomalies] if anomalies else period.known
    _write(period, chosen, anomalies, output)
    if png is not None:
        from adapters.cli.systems.energy.charts import write_png

        write_png(png, period)
        hint(f"drawn: {png}")


@energy.command(epilog=examples("scaup energy ships", "scaup energy ships -o csv"))
@output_options
@click.pass_obj
def ships(session: Session, output: Output) -> None:
    """List the ships with their first and last quarter, their energy, and how much of that time is covered.

    Exits with 1 where there is none.
    """
    statement = energy_sql.ships()
    rows = rows_of(session, statement.sql, statement.parameters)
    if not rows:
        raise Failed(
            "there is no energy data of any ship yet", "scaup energy import FILE, or see scaup status sim-ships energy"
        )
    if output.format.for_people:
        names = ("ship", "first", "last", "quarters", "kWh", "coverage")
        output.write(Rows(names, [_ship_for_people(each) for each in rows]))
    else:
        output.write_dicts(rows)


def _import(poster: "Poster", path: Path, defaults: "Defaults") -> "Outcome":
    """Post a file piece by piece; a file that cannot be read counts as refused."""
    from adapters.cli.output.progress import ProgressBar
    from adapters.client.energy.files import read
    from adapters.client.energy.outcome import Outcome

    outcome = Outcome()
    try:
        posts = read(path, defaults)
        for note in (note for each in posts for note in each.notes):
            hint(note)
        with ProgressBar(sum(len(each.data) for each in posts), "values") as bar:
            for piece in (piece for each in posts for piece in each.pieces()):
                outcome.add(piece, poster.post(piece))
                bar.advance(len(piece.data), path.name)
    except Failed as error:
        outcome.refused.append(f"{error.message}; {error.fix}" if error.fix else error.message)
    finally:
        _report(outcome)
    return outcome


def _report(outcome: "Outcome") -> None:
    for what, lines in (("skipped", outcome.skipped), ("refused", outcome.refused)):
        for each in lines[:_MOST_REPORTED]:
            hint(f"{what}: {each}")
        if len(lines) > _MOST_REPORTED:
            hint(f"{what}: and {len(lines) - _MOST_REPORTED:,} more")


def _write(period: "ShipPeriod", chosen: "list[ShipQuarter]", anomalies: bool, output: Output) -> None:
    for_people = output.format.for_people
    shown = chosen[-_LAST_ROWS:] if output.on_terminal and output.format is Format.TABLE else chosen
    if for_people:
        output.write(Rows(_FOR_PEOPLE, [_for_people(each, anomalies) for each in shown]))
    else:
        output.write(Rows(_COLUMNS, [(period.ship, *_columns(each)) for each in shown]))
    if for_people and not anomalies:
        _report_total(period, len(chosen) - len(shown), output)
    if output.format is Format.TABLE and output.on_terminal:
        _draw(period)
    if anomalies and not chosen:
        hint("no anomaly is known in the period")


def _for_people(quarter: "ShipQuarter", anomalies: bool) -> tuple[Any, ...]:
    kwh = None if quarter.kwh is None else round(quarter.kwh, 3)
    anomaly = ", ".join(f"{each.kind}: {each.text}" if anomalies else each.kind for each in quarter.anomalies)
    quality = f"{quarter.quality or 'missing'}{', negative' if quarter.negative else ''}"
    return f"{quarter.start_at:%Y-%m-%d %H:%M}", kwh, quality, f"{100 * quarter.coverage:.0f} %", anomaly


def _columns(quarter: "ShipQuarter") -> tuple[Any, ...]:
    found = quarter.anomalies
    kinds, texts = (", ".join(getattr(each, name) for each in found) or None for name in ("kind", "text"))
    expected = next((each.expected_kwh for each in found if each.expected_kwh is not None), None)
    known = quarter.start_at, quarter.kwh, quarter.quality, quarter.coverage, quarter.negative, quarter.revised_at
    return *known, kinds, expected, texts


def _report_total(period: "ShipPeriod", earlier: int, output: Output) -> None:
    missing = period.count - len(period.known)
    more = [f"{earlier:,} earlier rows: -o csv"] * (earlier > 0) + [f"{missing:,} quarters missing"] * (missing > 0)
    text = f"total {period.kwh:,.3f} kWh in {len(period.known):,} quarters{''.join(f'; {each}' for each in more)}"
    if output.on_terminal:
        click.echo(text)
    else:
        hint(text)


def _draw(period: "ShipPeriod") -> None:
    from adapters.cli.systems.energy.charts import text_lines

    lines = text_lines(period, max(40, shutil.get_terminal_size().columns))
    sys.stdout.write("\n".join(["", *lines, ""]))
    sys.stdout.flush()


def _ship_for_people(row: dict[str, Any]) -> tuple[Any, ...]:
    first, last = (f"{row[name]:%Y-%m-%d %H:%M}" for name in ("first_at", "last_at"))
    return row["ship"], first, last, row["quarters"], round(row["kwh"], 3), f"{100 * row['coverage']:.1f} %"
