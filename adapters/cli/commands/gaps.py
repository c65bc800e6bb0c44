"""`scaup gaps`: List published messages that are missing in the recording, doubled or late."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from adapters.cli.notices import hint
from adapters.cli.options import examples, output_options, since_option
from adapters.cli.output.destination import Output
from adapters.client.rows import Rows
from adapters.client.session import Session

if TYPE_CHECKING:
    from adapters.cli.ledger.sequence import PublisherSequence, SequenceFinding

_COLUMNS = ("source", "boot", "kind", "first_seq", "last_seq", "count", "after_at", "before_at")


@click.command(epilog=examples("scaup gaps", "scaup gaps heating --since 1h"))
@click.argument("source", required=False)
@since_option("Only messages recorded since then.")
@output_options
@click.pass_context
def gaps(ctx: click.Context, source: str | None, since_at: datetime | None, output: Output) -> None:
    """List published messages that are missing in the recording, doubled or late.

    Each component numbers its messages 1, 2, 3… from each of its starts (`boot`) on. SOURCE selects one component.

    \b
    missing               never recorded; it should have arrived between after_at and before_at
    doubled               recorded again between after_at and before_at: redelivered after a lost connection
    late                  recorded after a higher number, between after_at and before_at
    before the recording  published before the first recording began

    Messages that the retention policy removed are not missing; where it removed messages of a start, its gaps cannot be told
    apart, and one line counts all messages missing beyond them. Messages without stamps, such as those of devices, have no
    numbers: see `scaup verify`. Where anyone may publish, as on the topics of devices, a number may be forged: what follows
    from such numbers is listed as `claimed missing` and so on. Exits with 1 where something is missing or doubled, not only
    claimed.
    """  # noqa: D301 - click's mark for lines that are not wrapped
    from adapters.cli.ledger.ledger import read_ledger
    from adapters.cli.ledger.queries import LedgerQueries
    from adapters.cli.ledger.sequence import FindingKind
    from adapters.cli.output.progress import step_bar

    session: Session = ctx.obj
    with session.source() as recording, step_bar("reading") as start_steps:
        ledger = read_ledger(LedgerQueries(recording), source, since_at, start_steps)
    found = [(sequence, each) for sequence, findings in ledger.findings() for each in findings]
    proven = {_row(sequence, each)[:6] for sequence, each in found}
    claimed = [_row(sequence, each) for sequence, findings in ledger.claims() for each in findings]
    claimed = [(*row[:2], f"claimed {row[2]}", *row[3:]) for row in claimed if row[:6] not in proven]
    output.write(Rows(_COLUMNS, [*(_row(sequence, each) for sequence, each in found), *claimed]))
    if not found and not claimed:
        hint(_no_gap(list(ledger.stated.values()), source))
    if any(each.kind in (FindingKind.MISSING, FindingKind.DOUBLED) for _, each in found):
        ctx.exit(1)


def _row(sequence: "PublisherSequence", each: "SequenceFinding") -> tuple[Any, ...]:
    return sequence.source, sequence.boot, each.kind.value, each.first, each.last, each.count, each.after_at, each.before_at


def _no_gap(sequences: "list[PublisherSequence]", source: str | None) -> str:
    """Return how many messages were checked, where no gap was found."""
    if not sequences:
        whose = "stamped messages" if source is None else f"messages of {source}"
        return f"no {whose} were recorded: `scaup topics` shows what was"
    recorded = sum(each.recorded for each in sequences)
    starts = "1 start" if len(sequences) == 1 else f"{len(sequences)} starts"
    return f"no gap: {recorded:,} messages of publishers in {starts}, each recorded once and in order"
