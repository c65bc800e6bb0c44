"""`scaup query`: Query the recorded data with SQL."""

import sys
from typing import Any

import click

from adapters.cli.notices import warn
from adapters.cli.options import examples, output_options
from adapters.cli.output.destination import Output
from adapters.client.errors import WrongUsage
from adapters.client.session import Session

_ROWS_FOR_PEOPLE = 1_000


@click.command(
    epilog=examples(
        'scaup query "SELECT room, avg(celsius) FROM room_temperature GROUP BY room"',
        'scaup query -p room=room-1 "SELECT * FROM valve_level WHERE room = $room" -o csv',
        'scaup query "SELECT * FROM messages" --output-file messages.parquet',
    )
)
@click.argument("sql")
@click.option(
    "-p", "--parameter", "pairs", multiple=True, metavar="NAME=VALUE", help="Value of $NAME in the SQL; can be repeated."
)
@click.option("--max-rows", type=click.IntRange(min=1), help=f"Rows at most. For tables: {_ROWS_FOR_PEOPLE} unless given.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0, min_open=True), help="Seconds that the query may take.")
@output_options
@click.pass_obj
def query(
    session: Session, sql: str, pairs: tuple[str, ...], max_rows: int | None, timeout_s: float | None, output: Output
) -> None:
    """Query the recorded data with SQL.

    SQL is one read-only SELECT statement in DuckDB's dialect; "-" reads it from standard input. A running recorder answers
    with every message that reached it before; otherwise the database file is opened read-only.
    """
    from adapters.cli.output.progress import counted
    from adapters.client.answers import arrow_request

    if max_rows is None and output.format.for_people:
        max_rows = _ROWS_FOR_PEOPLE
    statement = sys.stdin.read() if sql == "-" else sql
    if not statement.strip():
        raise WrongUsage("there is no SQL", 'give one statement, such as scaup query "SELECT count(*) FROM messages"')
    with session.query(arrow_request(statement, parameters(pairs), max_rows, timeout_s)) as answer:
        answer.rows.source = counted(answer.rows.source, output)
        output.write(answer.rows)
        if answer.truncated:
            warn(f"there are more rows than these; {_more(max_rows)}")


def _more(max_rows: int | None) -> str:
    if max_rows is not None:
        return "set --max-rows for more"
    return "this is the recorder's limit: query the rest with WHERE, piece by piece"


def parameters(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Return the values of NAME=VALUE pairs by their names.

    Raises:
        WrongUsage: one of them is something else.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise WrongUsage(f"-p {pair!r} is not NAME=VALUE", "for example -p room=room-1, used as $room in the SQL")
        values[name] = _typed(text)
    return values


def _typed(text: str) -> Any:
    """Return a number, a boolean or null if the text is one; anything else, and quoted text, is text."""
    words: dict[str, Any] = {"true": True, "false": False, "null": None}
    if text in words:
        return words[text]
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1]
    for number in (int, float):
        try:
            return number(text) if text.lower().strip("+-") not in ("nan", "inf", "infinity") and "_" not in text else text
        except ValueError:
            continue
    return text
