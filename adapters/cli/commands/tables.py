"""`scaup tables`: List tables and views with their columns and rows."""

from typing import Any

import click

from adapters.cli.options import examples, output_options
from adapters.cli.output.destination import Output
from adapters.cli.output.formats import Format
from adapters.client.errors import WrongUsage
from adapters.client.rows import Rows
from adapters.client.session import Session, rows_of
from broker.contract.sql import identifier, literal

_SQL = """
SELECT table_name AS name, table_type AS kind, list(column_name ORDER BY ordinal_position) AS columns,
       list(replace(data_type, 'TIMESTAMP WITH TIME ZONE', 'TIMESTAMPTZ') ORDER BY ordinal_position) AS types
FROM information_schema.columns JOIN information_schema.tables USING (table_catalog, table_schema, table_name)
WHERE table_schema = 'main' GROUP BY ALL ORDER BY name
"""


@click.command(epilog=examples("scaup tables", "scaup tables room_temperature"))
@click.argument("name", required=False)
@output_options
@click.pass_obj
def tables(session: Session, name: str | None, output: Output) -> None:
    """List tables and views with their columns and rows.

    With NAME, list the columns of one of them with their types.
    """
    found = {str(each["name"]): each for each in rows_of(session, _SQL)}
    if name is None:
        output.write(_overview(found, _row_counts(session, list(found)), output.format))
    elif name in found:
        output.write(Rows(("column", "type"), list(zip(found[name]["columns"], found[name]["types"], strict=True))))
    else:
        raise WrongUsage(f"there is no table or view {name!r}", f"choose from {', '.join(found)}")


def _overview(found: dict[str, dict[str, Any]], counts: dict[str, int], output_format: Format) -> Rows:
    lines = []
    for name, each in found.items():
        types = dict(zip(each["columns"], each["types"], strict=True))
        for_people = output_format.for_people or output_format is Format.CSV
        kind = "view" if each["kind"] == "VIEW" else "table"
        lines.append((name, kind, counts[name], ", ".join(types) if for_people else types))
    return Rows(("name", "kind", "rows", "columns"), lines)


def _row_counts(session: Session, names: list[str]) -> dict[str, int]:
    if not names:
        return {}
    counts = (f"SELECT {literal(name)} AS name, count(*) AS n FROM {identifier(name)}" for name in names)  # noqa: S608 - quoted
    return {each["name"]: each["n"] for each in rows_of(session, " UNION ALL ".join(counts))}
