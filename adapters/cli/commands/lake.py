"""`scaup lake`: Join this site to a lake of many sites, and query all of them."""

import sys
from pathlib import Path
from types import ModuleType

import click

from adapters.cli.notices import hint, warn
from adapters.cli.options import examples, output_options
from adapters.cli.output.destination import Output
from adapters.client.errors import Failed, WrongUsage
from adapters.client.rows import Rows
from adapters.client.session import Session

_STATUS = ("site", "incarnation", "upto", "behind", "last_at", "state")


@click.group(epilog=examples("scaup lake status"))
def lake() -> None:
    """Join this site to a lake of many sites, and query all of them.

    A lake keeps the messages of many sites, as Parquet files on an S3 store with its catalog in PostgreSQL (DuckLake). A site
    records as before, and forwards what is committed, exactly once. The first use installs the packages that this needs.
    """


@lake.command(
    epilog=examples("scaup lake init --catalog postgresql://lake@db.example:5432/lake --store s3://plants/scaup > site.toml")
)
@click.option("--catalog", required=True, metavar="URL", help="PostgreSQL database: postgresql://USER@HOST:PORT/DATABASE.")
@click.option("--store", required=True, metavar="URL", help="Bucket and prefix: s3://BUCKET/PREFIX.")
@click.option("--endpoint", default="", metavar="URL", help="Address of the S3 server; without it, that of AWS.")
@click.option("--region", default="us-east-1", show_default=True, help="Region of the bucket.")
def init(catalog: str, store: str, endpoint: str, region: str) -> None:
    """Make a lake, and print the site file that sites join it with.

    Database and bucket exist already. The account of PostgreSQL may create roles; its password is in PGPASSWORD, the S3 key in
    AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Repeating it changes nothing, and brings back what is missing.
    """
    work = _work()
    click.echo(work.init(catalog, store, endpoint, region), nl=False)


@lake.command(epilog=examples("scaup lake join site.toml --site north"))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--site", required=True, help="Name of this site: letters, digits, - _ and . (40 at most).")
@click.option("--takeover", is_flag=True, help="Go on with a site in this data directory: a restored backup, a new machine.")
@click.pass_obj
def join(session: Session, file: Path, site: str, takeover: bool) -> None:
    """Join this site to a lake; needs the variables of `scaup lake init`.

    Makes the site's own account of PostgreSQL, binds this data directory to the site, and writes lake.toml (SCAUP_LAKE) for the
    component lake-forwarder. The S3 key goes in there as it is: one that may write below the site's prefix only is enough.
    """
    work = _work()
    work.join(session.settings, file, site, takeover)
    hint(f"joined as {site}; `make up` starts lake-forwarder, and its state is in `scaup lake status`")


@lake.command(epilog=examples("scaup lake status -o jsonl"))
@output_options
@click.pass_obj
def status(session: Session, output: Output) -> None:
    """Show how far each site's messages are in the lake.

    A site sees itself; with PGPASSWORD of the catalog's account, all are shown. `behind` counts messages that were not in the
    lake at the last report.
    """
    rows = _work().status(session.settings)
    output.write(Rows(_STATUS, [tuple(each[name] for name in _STATUS) for each in rows]))


@lake.command(
    epilog=examples('scaup lake query "SELECT site, count(*) FROM messages GROUP BY site"', "scaup lake query - < report.sql")
)
@click.argument("sql")
@click.option(
    "-p", "--parameter", "pairs", multiple=True, metavar="NAME=VALUE", help="Value of $NAME in the SQL; can be repeated."
)
@click.option("--max-rows", type=click.IntRange(min=1), help="Rows at most. For tables: 1000 unless given.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0, min_open=True), help="Seconds that the query may take.")
@click.option("--lake-only", is_flag=True, help="Without what this site has recorded and not forwarded yet.")
@output_options
@click.pass_obj
def query(
    session: Session,
    sql: str,
    pairs: tuple[str, ...],
    max_rows: int | None,
    timeout_s: float | None,
    lake_only: bool,
    output: Output,
) -> None:
    """Query the messages of all sites with SQL.

    SQL is one read-only SELECT statement in DuckDB's dialect; "-" reads it from standard input. The tables are those of
    `scaup tables`, with the column `site`. While this site's recorder runs, its newest messages are there too.
    """
    from adapters.cli.commands.query import parameters
    from adapters.cli.output.progress import counted

    if max_rows is None and output.format.for_people:
        max_rows = 1_000
    statement = sys.stdin.read() if sql == "-" else sql
    if not statement.strip():
        raise WrongUsage("there is no SQL", 'give one statement, such as scaup lake query "SELECT count(*) FROM messages"')
    work = _work()
    from adapters.client.answers import arrow_request

    request = arrow_request(statement, parameters(pairs), max_rows, timeout_s)
    with work.query(session, request, lake_only) as answer:
        answer.rows.source = counted(answer.rows.source, output)
        output.write(answer.rows)
        if answer.truncated:
            warn("there are more rows than these; set --max-rows for more")


@lake.command(epilog=examples("scaup lake maintain --keep-days 7"))
@click.option("--keep-days", type=click.IntRange(min=1), default=7, show_default=True, help="Days for which old states stay.")
@click.pass_obj
def maintain(session: Session, keep_days: int) -> None:
    """Merge the lake's small files, and remove those that nothing uses any more.

    Safe while sites forward. Needs the variables of `scaup lake init`; run it daily, on one machine.
    """
    for line in _work().maintain(session.settings, keep_days):
        click.echo(line)


@lake.command(epilog=examples("scaup lake leave"))
@click.pass_obj
def leave(session: Session) -> None:
    """Stop forwarding from this site; what it forwarded stays in the lake.

    Removes lake.toml and the files that wait for the lake. The messages themselves stay in the recording.
    """
    _work().leave(session.settings)


def _work() -> ModuleType:
    """Return `adapters.cli.lakes`, which can be imported when the packages of the lake are there."""
    from adapters.lake import central
    from broker.errors import CannotStart

    try:
        central.enter(install=True)
    except CannotStart as error:
        raise Failed(str(error), "bin/setup central") from error
    from adapters.cli import lakes

    return lakes
