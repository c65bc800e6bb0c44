"""`scaup gaps`: List what publishers sent and the recording has not, has twice, or has late."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from adapters.cli.notices import hint
from adapters.cli.options import examples, output_options, since_option
from adapters.cli.output.destination import Output
from adapters.client.rows import Rows
from adapters.client.session import Session

if TYPE_CHECKING:
    from adapters.cli.ledger.book import Book, Finding

_COLUMNS = ("source", "boot", "kind", "first_seq", "last_seq", "count", "after_at", "before_at")


@click.command(epilog=examples("scaup gaps", "scaup gaps heating --since 1h"))
@click.argument("source", required=False)
@since_option("Only what was recorded since then.")
@output_options
@click.pass_context
def gaps(ctx: click.Context, source: str | None, since_at: datetime | None, output: Output) -> None:
    """List what publishers sent and the recording has not, has twice, or has late.

    Each component, or SOURCE only, numbers what it publishes 1, 2, 3… from each of its starts (`boot`) on.

    \b
    missing               never recorded; it should have been between after_at and before_at
    doubled               recorded again between after_at and before_at: published once more after a lost connection
    late                  recorded after a higher number, between after_at and before_at
    before the recording  published before the first recording began

    What the retention policy removed is not missing; where it removed messages of a start, single gaps cannot be told and one
    line counts what is missing beyond. Messages without stamps, such as those of devices, have no numbers: see `scaup verify`.
    Exits with 1 where something is missing or doubled.
    """  # noqa: D301 - click's mark for lines that are not wrapped
    from adapters.cli.ledger.asking import asking, progress
    from adapters.cli.ledger.book import Kind
    from adapters.cli.ledger.reading import read_ledger

    session: Session = ctx.obj
    with asking(session) as ask, progress("reading") as started:
        ledger = read_ledger(ask, source, since_at, started)
    found = [(book, each) for book, findings in ledger.findings() for each in findings]
    output.write(Rows(_COLUMNS, [_row(book, each) for book, each in found]))
    if not found:
        hint(_nothing(list(ledger.books.values()), source))
    if any(each.kind in (Kind.MISSING, Kind.DOUBLED) for _, each in found):
        ctx.exit(1)


def _row(book: "Book", each: "Finding") -> tuple[Any, ...]:
    return book.source, book.boot, each.kind.value, each.first, each.last, each.count, each.after_at, each.before_at


def _nothing(books: "list[Book]", source: str | None) -> str:
    """Say on what ground nothing was found."""
    if not books:
        whose = "stamped messages" if source is None else f"messages of {source}"
        return f"no {whose} were recorded: `scaup topics` shows what was"
    recorded, starts = sum(book.recorded for book in books), "1 start" if len(books) == 1 else f"{len(books)} starts"
    return f"no gap: {recorded:,} messages of publishers in {starts}, each recorded once and in order"
