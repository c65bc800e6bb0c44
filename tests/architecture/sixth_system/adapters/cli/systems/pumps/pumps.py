"""`scaup pumps`: Show the highest flow of each pump."""

import click

from adapters.cli.options import examples, output_options
from adapters.cli.output.destination import Output
from adapters.client.rows import Rows
from adapters.client.session import Session, rows_of
from broker.contract.pumps import questions


@click.command(epilog=examples("scaup pumps -o csv"))
@output_options
@click.pass_obj
def pumps(session: Session, output: Output) -> None:
    """Show the highest flow of each pump, in litres a minute."""
    statement = questions.flows()
    rows = rows_of(session, statement.sql, statement.parameters)
    columns = ("pump", "readings", "litres_per_min")
    output.write(Rows(columns, [tuple(each[name] for name in columns) for each in rows]))
