"""Typed views of the messages on the topics of a filter: columns and types are inferred from the payloads."""

import json
import re
from dataclasses import dataclass
from typing import Any

from duckdb import DuckDBPyConnection

from broker.contract.sql import identifier, literal, topic_condition
from broker.errors import InvalidTopic
from broker.mqtt.topics import validate_filter
from storage.errors import InvalidRequest

SAMPLE = 100_000
"""Number of the last messages on the topics from which the types are inferred."""

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}", re.IGNORECASE)
_FIXED = ("number", "received_at", "event_at", "topic")
_NUMBERS = ("BIGINT", "UBIGINT", "HUGEINT", "UHUGEINT", "DOUBLE")
_BARE_NUMBER = f"CASE WHEN json_type(json_payload) IN {_NUMBERS} THEN TRY_CAST(payload AS DOUBLE) END"
_BARE_TEXT = "CASE WHEN json_type(json_payload) IS DISTINCT FROM 'OBJECT' THEN payload END"
_SHAPES = f"""
WITH sample AS (SELECT payload FROM messages WHERE {{condition}} ORDER BY number DESC LIMIT {SAMPLE}),
valid AS (
    SELECT CASE WHEN json_valid(payload) THEN payload END AS payload, payload IS NOT NULL AND payload <> '' AS text FROM sample)
SELECT count(*) AS messages,
    json_group_structure(CASE WHEN json_type(payload) = 'OBJECT' THEN payload END::JSON) AS fields,
    count(*) FILTER (json_type(payload) IN {_NUMBERS}) AS numbers,
    count(*) FILTER (text AND (payload IS NULL OR json_type(payload) <> 'OBJECT')) AS others
FROM valid
"""
_INSTANTS = f"""
SELECT bool_and(text IS NULL OR (regexp_full_match(text, '[0-9]+-[0-9]+-[0-9]+T.*(Z|[+-][0-9:]+)')
    AND TRY_CAST(text AS TIMESTAMPTZ) IS NOT NULL)) FROM (
    SELECT json_extract_string(CASE WHEN json_valid(payload) THEN payload END, {{pointer}}) AS text
    FROM messages WHERE {{condition}} ORDER BY number DESC LIMIT {SAMPLE})
"""
_SIZES = f"""
SELECT coalesce(bool_and(regexp_full_match(text, '-?[0-9]+')), false), bool_and(TRY_CAST(text AS BIGINT) IS NOT NULL),
    bool_and(TRY_CAST(text AS HUGEINT) IS NOT NULL), bool_or(abs(text::DOUBLE) > 2::DOUBLE ** 53) FROM (
    SELECT CASE WHEN json_type(valid, {{pointer}}) IN {_NUMBERS} THEN json_extract_string(valid, {{pointer}}) END AS text FROM (
        SELECT CASE WHEN json_valid(payload) THEN payload END AS valid
        FROM messages WHERE {{condition}} ORDER BY number DESC LIMIT {SAMPLE}))
"""
_TEXT_OF_NUMBER = "text of a number"
"""The kind of a column of whole numbers that no type of DuckDB holds."""


@dataclass(frozen=True, slots=True)
class RecordedView:
    """A view that is to be created: its columns by name, with their SQL, or its whole SELECT."""

    name: str
    topic_filter: str
    columns: dict[str, str]
    select: str | None = None

    @property
    def query(self) -> str:
        """The view's SELECT."""
        if self.select is not None:
            return self.select
        columns = ", ".join(f"{sql} AS {identifier(name)}" for name, sql in self.columns.items())
        fixed = ", ".join(_FIXED)
        source = "SELECT *, CASE WHEN json_valid(payload) THEN payload END AS json_payload FROM messages"
        return f"SELECT {fixed}, {columns} FROM ({source} WHERE {condition_of(self.topic_filter)})"


def infer(connection: DuckDBPyConnection, name: str, topic_filter: str) -> RecordedView:
    """Infer a view from recorded messages.

    Raises:
        InvalidRequest: the name or the filter is invalid, or no message with a type was recorded.
    """
    if _NAME.fullmatch(name) is None:
        raise InvalidRequest(f"{name!r} cannot name a view: letters, digits and _ can, 63 at most, not a digit first")
    try:
        condition = condition_of(validate_filter(topic_filter))
    except InvalidTopic as error:
        raise InvalidRequest(str(error)) from error
    ((messages, fields, numbers, others),) = connection.execute(_SHAPES.format(condition=condition)).fetchall()
    if not messages:
        raise InvalidRequest(f"nothing was recorded on {topic_filter}: `scaup topics {literal(topic_filter)}` lists topics")
    levels = _levels(topic_filter)
    columns = levels | _fields(connection, condition, json.loads(fields) if fields else {}, {*_FIXED, "value", *levels})
    if others:
        columns["value"] = _bare_number(connection, condition) if numbers == others else _BARE_TEXT
    if not columns:
        raise InvalidRequest(f"the messages recorded on {topic_filter} have no fields: there is nothing to type")
    return RecordedView(name, topic_filter, columns)


def condition_of(topic_filter: str) -> str:
    """Return the condition under which a message is on a topic of a valid filter, without parameters."""
    condition = topic_condition(topic_filter)
    return re.sub(r"\$([a-z_]+)", lambda found: literal(str(condition.parameters[found[1]])), condition.sql)


def _levels(topic_filter: str) -> dict[str, str]:
    levels = topic_filter.split("/")
    return {f"level_{n}": f"split_part(topic, '/', {n})" for n, level in enumerate(levels, 1) if level == "+"}


def _fields(connection: DuckDBPyConnection, condition: str, structure: Any, taken: set[str]) -> dict[str, str]:
    columns: dict[str, str] = {}
    for field, found in structure.items() if isinstance(structure, dict) else ():
        kind = found
        name = _free_name(field or "empty", taken)
        taken.add(name.lower())
        pointer = literal("/" + field.replace("~", "~0").replace("/", "~1"))
        if kind == "VARCHAR" and _are_instants(connection, condition, pointer):
            kind = "TIMESTAMPTZ"
        elif kind in _NUMBERS:  # HUGEINT too, where some are negative
            kind, _ = _number_kind(connection, condition, pointer)
        columns[name] = _typed(pointer, kind)
    return columns


def _free_name(field: str, taken: set[str]) -> str:
    name, count = field, 1
    while name.lower() in taken:
        count += 1
        name = f"payload_{field}" if count == 2 else f"payload_{field}_{count}"
    return name


def _bare_number(connection: DuckDBPyConnection, condition: str) -> str:
    """Return the SQL of payloads that are numbers: as doubles, unless whole ones among them would be rounded."""
    kind, wide = _number_kind(connection, condition, "'$'")
    return _typed("'$'", kind) if wide and kind != "DOUBLE" else _BARE_NUMBER


def _number_kind(connection: DuckDBPyConnection, condition: str, pointer: str) -> tuple[str, bool]:
    """Return the type that holds all numbers of the sample, whole ones exactly, and whether a double would round some."""
    sql = _SIZES.format(condition=condition, pointer=pointer)
    ((whole, small, large, wide),) = connection.execute(sql).fetchall()
    if not whole:
        return "DOUBLE", bool(wide)
    return ("BIGINT" if small else "HUGEINT" if large else _TEXT_OF_NUMBER), bool(wide)


def _are_instants(connection: DuckDBPyConnection, condition: str, pointer: str) -> bool:
    ((instants,),) = connection.execute(_INSTANTS.format(condition=condition, pointer=pointer)).fetchall()
    return bool(instants)


def _typed(pointer: str, kind: Any) -> str:
    """Return the SQL of a column; it is null where a payload has another type there than the sample."""
    found, text = f"json_type(json_payload, {pointer})", f"json_extract_string(json_payload, {pointer})"
    if kind in ("BIGINT", "HUGEINT"):
        return f"CASE WHEN regexp_full_match({text}, '-?[0-9]+') AND {found} IN {_NUMBERS} THEN TRY_CAST({text} AS {kind}) END"
    if kind == _TEXT_OF_NUMBER:
        return f"CASE WHEN {found} IN {_NUMBERS} THEN {text} END"
    if kind == "DOUBLE":
        return f"CASE WHEN {found} IN {_NUMBERS} THEN TRY_CAST({text} AS DOUBLE) END"
    if kind == "BOOLEAN":
        return f"CASE WHEN {found} = 'BOOLEAN' THEN {text} = 'true' END"
    if kind in ("VARCHAR", "TIMESTAMPTZ"):
        return f"CASE WHEN {found} = 'VARCHAR' THEN TRY_CAST({text} AS {kind}) END"
    return f"json_extract(json_payload, {pointer})"


def create(connection: DuckDBPyConnection, view: RecordedView) -> None:
    """Define a view; one of that name that a user created before is replaced.

    Raises:
        InvalidRequest: the name belongs to a table or view of Scaup's own.
    """
    sql = """SELECT table_name FROM information_schema.tables WHERE lower(table_name) = lower($name) AND table_schema <> 'temp'
             AND table_catalog <> 'temp' AND table_name NOT IN
             (SELECT name FROM recorded_view)"""
    if connection.execute(sql, {"name": view.name}).fetchall():
        raise InvalidRequest(f"{view.name} is a table or view of Scaup's own: choose another name")
    _remove(connection, view.name)
    connection.execute("INSERT INTO recorded_view VALUES (?, ?, ?, now())", [view.name, view.topic_filter, view.query])
    connection.execute(f"CREATE OR REPLACE VIEW {identifier(view.name)} AS {view.query}")


def drop(connection: DuckDBPyConnection, name: str) -> None:
    """Remove a view that a user created.

    Raises:
        InvalidRequest: there is none of that name.
    """
    if not _remove(connection, name):
        raise InvalidRequest(f"no view {name!r} was created: `scaup views` lists those that were")


def _remove(connection: DuckDBPyConnection, name: str) -> bool:
    found = connection.execute("SELECT name FROM recorded_view WHERE lower(name) = lower(?)", [name]).fetchall()
    for (each,) in found:
        connection.execute(f"DROP VIEW IF EXISTS {identifier(each)}")
        connection.execute("DELETE FROM recorded_view WHERE name = ?", [each])
    return bool(found)
