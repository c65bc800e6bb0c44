"""`scaup views`: List typed views of recorded topics; with FILTER, create one."""

import re

import click

from adapters.cli.notices import hint
from adapters.cli.options import TopicFilter, examples, output_options
from adapters.cli.output.destination import Output
from adapters.client.errors import WrongUsage
from adapters.client.rows import Rows
from adapters.client.session import Session, rows_of
from broker.contract.storage.topics import Action, StorageRequest

_LIST = """
SELECT name, filter, list(column_name || ' ' || replace(data_type, 'TIMESTAMP WITH TIME ZONE', 'TIMESTAMPTZ')
    ORDER BY ordinal_position) AS columns, created_at
FROM recorded_view JOIN information_schema.columns ON table_name = name AND table_schema = 'main'
GROUP BY ALL ORDER BY name
"""
_COLUMNS = ("name", "filter", "columns", "created_at")


@click.command(
    epilog=examples(
        "scaup views 'press/+/torque' --name press_torque",
        "scaup query 'SELECT * FROM press_torque'",
        "scaup views --drop press_torque",
    )
)
@click.argument("topic_filter", metavar="[FILTER]", type=TopicFilter(), required=False)
@click.option("--name", help="The view's name; by default derived from FILTER.")
@click.option("--drop", metavar="NAME", help="Remove a view. The recorded messages stay.")
@output_options
@click.pass_obj
def views(session: Session, topic_filter: str | None, name: str | None, drop: str | None, output: Output) -> None:
    """List typed views of recorded topics; with FILTER, create one.

    Columns and types are inferred from the last 100,000 messages: the fields of JSON objects, or the bare value; a + in FILTER
    becomes the column level_N. Where a later payload has another type, its column is null. Creating the view again repeats the
    inference.
    """
    if drop is not None:
        if topic_filter is not None or name is not None:
            raise WrongUsage("--drop takes only its NAME", "see `scaup views --help`")
        _carry_out(session, StorageRequest(action=Action.DROP_VIEW, name=drop))
    elif topic_filter is not None:
        wanted = name or view_name(topic_filter)
        _carry_out(session, StorageRequest(action=Action.CREATE_VIEW, name=wanted, filter=topic_filter))
        hint(f'try: scaup query "SELECT * FROM {wanted} ORDER BY number DESC LIMIT 10"')  # noqa: S608 - shown
    elif name is not None:
        raise WrongUsage("--name needs a FILTER", "for instance `scaup views 'press/+/torque' --name press_torque`")
    else:
        _list(session, output)


def view_name(topic_filter: str) -> str:
    """Make a name of a filter: `press/+/torque` becomes `press_torque`."""
    name = re.sub(r"[^a-z0-9]+", "_", topic_filter.lower()).strip("_") or "all_topics"
    return f"view_{name}"[:63] if name[0].isdigit() else name[:63]


def _list(session: Session, output: Output) -> None:
    rows = rows_of(session, _LIST)
    if not rows:
        hint("there is no view yet: create one with `scaup views FILTER`; `scaup topics` lists topics")
    output.write(Rows(_COLUMNS, [tuple(each[name] for name in _COLUMNS) for each in rows]))


def _carry_out(session: Session, request: StorageRequest) -> None:
    click.echo(session.carry_out(request, lambda _progress: None))
