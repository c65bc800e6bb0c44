"""`scaup last`: Show the last message of each topic."""

from datetime import datetime

import click

from adapters.cli.notices import warn
from adapters.cli.options import examples, output_options, since_option, topic_filter_argument
from adapters.cli.output.destination import Output
from adapters.client.history import COLUMNS
from adapters.client.session import Session
from broker.contract.sql import selection

_FOR_PEOPLE = "received_at, topic, coalesce(payload, '(' || octet_length(payload_raw) || ' bytes)') AS payload"
_SQL = """
SELECT {shown} FROM messages WHERE number IN (SELECT max(number) FROM messages WHERE {condition} GROUP BY topic) ORDER BY topic
"""


@click.command(epilog=examples("scaup last 'heating/+/state' -o jsonl"))
@topic_filter_argument
@since_option()
@output_options
@click.pass_obj
def last(session: Session, topic_filter: str, since_at: datetime | None, output: Output) -> None:
    """Show the last message of each topic.

    FILTER is an MQTT filter with + and #; without it, every topic.
    """
    from adapters.client.answers import arrow_request

    condition = selection(topic_filter, since_at)
    shown = _FOR_PEOPLE if output.format.for_people else ", ".join(COLUMNS)
    sql = _SQL.format(shown=shown, condition=condition.sql)
    with session.query(arrow_request(sql, condition.parameters, None, None)) as answer:
        output.write(answer.rows)
        if answer.truncated:
            warn("there are more topics than these; narrow FILTER")
