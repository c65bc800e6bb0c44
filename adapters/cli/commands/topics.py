"""`scaup topics`: List the recorded topics."""

from datetime import datetime

import click

from adapters.cli.notices import warn
from adapters.cli.options import examples, output_options, since_option, topic_filter_argument
from adapters.cli.output.destination import Output
from adapters.client.session import Session
from broker.contract.sql import selection

_SQL = """
SELECT topic, count(*) AS messages, arg_min(received_at, number) AS first_seen, arg_max(received_at, number) AS last_seen,
       arg_max(coalesce(payload, '(' || octet_length(payload_raw) || ' bytes)'), number) AS payload
FROM messages WHERE {condition} GROUP BY topic ORDER BY topic
"""


@click.command(epilog=examples("scaup topics '/readings/#' --since 1h"))
@topic_filter_argument
@since_option()
@output_options
@click.pass_obj
def topics(session: Session, topic_filter: str, since_at: datetime | None, output: Output) -> None:
    """List the recorded topics.

    FILTER is an MQTT filter with + and #; without it, every topic. `payload` is that of the last message.
    """
    from adapters.client.answers import arrow_request

    condition = selection(topic_filter, since_at)
    with session.query(arrow_request(_SQL.format(condition=condition.sql), condition.parameters, None, None)) as answer:
        output.write(answer.rows)
        if answer.truncated:
            warn("there are more topics than these; narrow FILTER")
