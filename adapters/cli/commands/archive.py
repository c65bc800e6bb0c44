"""`scaup archive`: Move past days into Parquet files, list them, and restore them."""

from datetime import date

import click

from adapters.cli.notices import hint
from adapters.cli.options import examples, output_options
from adapters.cli.output.destination import Output
from adapters.cli.output.progress import Steps
from adapters.client.rows import Rows
from adapters.client.session import Session, rows_of
from broker.contract.storage.topics import Action, StorageRequest

_LIST = """
SELECT day, sum(rows) FILTER (name = 'messages')::BIGINT AS messages, list(DISTINCT name ORDER BY name) AS tables,
    count(*) AS files, sum(bytes)::BIGINT AS bytes, max(archived_at) AS archived_at
FROM archive_file WHERE state = 'archived' GROUP BY day ORDER BY day
"""
_COLUMNS = ("day", "messages", "tables", "files", "bytes", "archived_at")


class Day(click.ParamType):  # type: ignore[type-arg]
    """A day, UTC, as 2026-01-31."""

    name = "day"

    def convert(self, value: str | date, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Return the day, or fail with the accepted form."""
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day: write it as 2026-01-31 (UTC)", param, ctx)


@click.group(epilog=examples("scaup archive list"))
def archive() -> None:
    """Move past days into Parquet files, list them, and restore them.

    The recorder archives each past day automatically; queries return live and archived messages alike. The retention policy
    (SCAUP_RETENTION) sets how long messages are kept.
    """


@archive.command(epilog=examples("scaup archive run", "scaup archive run 2026-01-31"))
@click.argument("day", type=Day(), required=False)
@click.pass_obj
def run(session: Session, day: date | None) -> None:
    """Archive every past day now, or one DAY, even if it was restored before."""
    _carry_out(session, StorageRequest(action=Action.ARCHIVE, day=day))


@archive.command(name="list", epilog=examples("scaup archive list -o csv"))
@output_options
@click.pass_obj
def list_days(session: Session, output: Output) -> None:
    """List the archived days with their messages, tables and size."""
    rows = rows_of(session, _LIST)
    if not rows:
        hint("no day is archived yet: the recorder archives past days (UTC), and so does `scaup archive run`")
    output.write(Rows(_COLUMNS, [tuple(each[name] for name in _COLUMNS) for each in rows]))


@archive.command(epilog=examples("scaup archive restore 2026-01-31"))
@click.argument("day", type=Day())
@click.pass_obj
def restore(session: Session, day: date) -> None:
    """Restore an archived DAY to the database, where it stays until `scaup archive run DAY`."""
    _carry_out(session, StorageRequest(action=Action.RESTORE, day=day))


def _carry_out(session: Session, request: StorageRequest) -> None:
    with Steps() as steps:
        done = session.carry_out(request, lambda progress: steps.show(progress.doing, progress.done, progress.total))
    click.echo(done)
