"""`scaup verify`: Balance the whole recording, and report every difference."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from adapters.cli.notices import hint
from adapters.cli.options import examples, output_options, since_option
from adapters.cli.output.destination import Output
from adapters.client.rows import Rows
from adapters.client.session import Session

if TYPE_CHECKING:
    from adapters.cli.ledger.balance import Balance

_FOR_PEOPLE = ("check", "name", "expected", "found", "verdict", "means")
_COLUMNS = (
    *("check", "name", "boot", "expected", "found", "expired", "before", "missing", "surplus", "different"),
    *("verdict", "means"),
)


@click.command(epilog=examples("scaup verify", "scaup verify --since 1d -o json"))
@since_option("Only messages recorded since then.")
@click.option("--all", "every", is_flag=True, help="A line for each start of a publisher and each file, also if balanced.")
@output_options
@click.pass_context
def verify(ctx: click.Context, since_at: datetime | None, every: bool, output: Output) -> None:
    """Balance the whole recording, and report every difference.

    \b
    publisher  numbers published by each start = recorded + expired + before the recording + missing
    claimed    the same with the numbers on topics where anyone may publish, such as readings: shown, never a failure
    numbers    the database's own count of messages = rows in messages + expired, none twice
    typed      rows of each typed table = what the raw messages give, value by value
    archive    rows of each archived file = rows that messages shows of it

    While the recorder records, the balance includes messages up to the start of the command. Exits with 1 if a line does not
    balance: something is missing or surplus (recorded twice, or written by hand), or has other values.

    Not detected: a changed payload whose change is in no typed column (any change, on topics without a typed table), and a
    removed message of such a topic if it was the very last message.
    """  # noqa: D301 - click's mark for lines that are not wrapped
    from adapters.cli.ledger.balance import summed
    from adapters.cli.ledger.queries import LedgerQueries
    from adapters.cli.ledger.verify import verify as verify_recording
    from adapters.cli.output.progress import step_bar

    session: Session = ctx.obj
    with session.source() as source, step_bar("verifying") as start_steps:
        window, lines = verify_recording(LedgerQueries(source), since_at, start_steps)
    shown = lines if every else list(summed(lines))
    if output.format.for_people:
        output.write(Rows(_FOR_PEOPLE, [_short(line) for line in shown]))
    else:
        output.write(Rows(_COLUMNS, [_full(line) for line in shown]))
    wrong = sum(not line.balanced for line in lines)
    what = f"messages {window.low:,} to {window.high:,}" if window.high >= window.low else "no messages"
    hint(f"{what}: {f'{wrong} of {len(lines)} lines do not balance' if wrong else 'everything balances'}")
    if wrong:
        ctx.exit(1)


def _short(line: "Balance") -> tuple[Any, ...]:
    name = line.name if line.boot is None else f"{line.name} {line.boot}"
    return line.check, name, line.expected, line.found, _verdict(line), line.means or None


def _full(line: "Balance") -> tuple[Any, ...]:
    counts = line.expected, line.found, line.expired, line.before, line.missing, line.surplus, line.different
    return line.check, line.name, line.boot, *counts, _verdict(line), line.means or None


def _verdict(line: "Balance") -> str:
    if not line.differs:
        return "ok"
    return "claimed" if line.balanced else "failed"
