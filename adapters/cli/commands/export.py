"""`scaup export`: Write recorded messages to a file: CSV, JSON lines, JSON or Parquet, of any size."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from adapters.cli.notices import hint, warn
from adapters.cli.options import TopicFilter, examples, since_option, until_option
from adapters.cli.output.destination import Output
from adapters.cli.output.formats import Format
from adapters.cli.output.progress import ProgressBar
from adapters.client import pages as exporting
from adapters.client.errors import WrongUsage
from adapters.client.history import COLUMNS
from adapters.client.pages import MESSAGES, NUMBER, PageSize
from adapters.client.rows import ArrowRows
from adapters.client.session import Session
from broker.contract.sql import EVERYTHING, Condition, received, topic_condition

if TYPE_CHECKING:
    import pyarrow as pa

_FORMATS = [each for each in Format if not each.for_people]
_NAMES = ", ".join(each.value for each in _FORMATS)


@click.command(
    epilog=examples(
        "scaup export --output-file messages.parquet",
        "scaup export '/readings/#' --since yesterday --until today --output-file readings.csv.gz",
        "scaup export --table room_temperature -o csv > temperatures.csv",
        'scaup export --sql "SELECT topic, count(*) AS n FROM messages GROUP BY topic" --output-file topics.json',
    )
)
@click.argument("topic_filter", metavar="[FILTER]", type=TopicFilter(), required=False)
@click.option("--table", metavar="NAME", help="Export a table or view instead of messages: `scaup tables` lists them.")
@click.option("--sql", metavar="SQL", help="Export the rows of one SELECT statement instead of messages.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0, min_open=True), help="Seconds that the SQL may take.")
@since_option("Only messages received at this time or later.")
@until_option("Only messages received before this time.")
@click.option(
    "-o",
    "--output",
    "wanted",
    type=click.Choice([each.value for each in _FORMATS]),
    metavar="FORMAT",
    help=f"{_NAMES}. Without it: by the ending of the file name, else JSON lines.",
)
@click.option(
    "--output-file",
    "path",
    type=click.Path(path_type=Path),
    help="Write to this file instead of standard output; the ending .gz compresses.",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@click.pass_obj
def export(
    session: Session,
    topic_filter: str | None,
    table: str | None,
    sql: str | None,
    timeout_s: float | None,
    since_at: datetime | None,
    until_at: datetime | None,
    wanted: str | None,
    path: Path | None,
    force: bool,
) -> None:
    """Write recorded messages to a file: CSV, JSON lines, JSON or Parquet, of any size.

    FILTER is an MQTT filter with + and #; without it, every topic. The rows are those recorded when the export begins, in the
    order of arrival. They are queried in pieces, so neither the recorder's limits nor memory bounds their number; only
    --sql, and a --table without the column `number`, are a single query within those limits.

    The file appears when it is complete: until then it is called FILE.part. Payloads that are not UTF-8 are in the column
    payload_raw, as base64 in text formats.
    """
    output = _output(wanted, path)
    with output.opened_whole(force=force) as file:
        if sql is None:
            source = _rows(session, table, topic_filter, received(since_at, until_at))
        else:
            _only("--sql", topic_filter, table, since_at, until_at)
            source = _one_answer(session, sql, timeout_s=timeout_s)
        with source as found:
            rows = _write(found, output, file)
    if path is not None:
        hint(f"{rows:,} rows in {path}")


@dataclass(slots=True)
class _Source:
    """The rows to be written, page by page, and their total number where it is known."""

    schema: "pa.Schema"
    pages: "Iterator[list[pa.RecordBatch]]"
    total: int | None = None


def _output(wanted: str | None, path: Path | None) -> Output:
    if path is None:
        return Output.of(wanted or Format.JSONL.value, None)
    name = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    chosen = Format(wanted) if wanted else Format.of_suffix(name.suffix)
    if chosen not in _FORMATS:
        raise WrongUsage(
            f"the name {path.name} does not choose a format", f"add -o {'|'.join(each.value for each in _FORMATS)}"
        )
    if chosen is Format.PARQUET and name is not path:
        raise WrongUsage("Parquet files are compressed already", f"call the file {name}")
    return Output(chosen, path)


def _only(option: str, *others: object) -> None:
    if any(each is not None for each in others):
        raise WrongUsage(
            f"{option} cannot be combined with other selections", "leave them out; the SQL itself may have a WHERE"
        )


@contextmanager
def _rows(session: Session, table: str | None, topic_filter: str | None, when: Condition) -> Iterator[_Source]:
    if table is not None:
        _only("--table", topic_filter)
        selection = exporting.select(session, table, when)
    else:
        selection = exporting.select(session, MESSAGES, topic_condition(topic_filter or "#") & when, (NUMBER, *COLUMNS))
    if exporting.is_numbered(session, selection):
        extent = exporting.extent(session, selection)
        yield _Source(selection.schema, exporting.pages(session, selection, extent, PageSize()), extent.rows)
    else:
        order = " ORDER BY received_at" if "received_at" in selection.schema.names else ""
        with _one_answer(session, selection.sql(tail=order), selection.condition) as source:
            yield source


@contextmanager
def _one_answer(
    session: Session, sql: str, condition: Condition = EVERYTHING, timeout_s: float | None = None
) -> Iterator[_Source]:
    with exporting.one_answer(session, sql, condition.parameters, timeout_s) as (schema, pages):
        yield _Source(schema, pages)


def _write(source: _Source, output: Output, file: IO[bytes]) -> int:
    written = 0

    def counted() -> "Iterator[pa.RecordBatch]":
        nonlocal written
        for page in source.pages:
            for batch in page:
                yield batch
                written += batch.num_rows
                bar.advance(batch.num_rows)

    with ProgressBar(source.total, "rows", visible=not output.on_terminal) as bar:
        output.format.write(ArrowRows(source.schema, counted()), file)
    if source.total is not None and written != source.total:
        warn(f"{source.total:,} rows existed at the start and {written:,} were written: the retention policy removed some")
    return written
