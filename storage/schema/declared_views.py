"""Typed views with declared columns: `[table.NAME]` of a declaration of devices, compiled to SQL.

Every keyword does here what `adapters/devices/values.py` does with one message, so that what was recorded before is there too.
A message with a value that is malformed, and one without any value, has no row.
"""

import re
from collections.abc import Sequence

from broker.contract.sql import identifier, literal
from broker.contract.storage.topics import ViewColumn
from broker.errors import InvalidTopic
from broker.mqtt.topics import validate_filter
from storage.errors import InvalidRequest
from storage.schema.inferred_views import RecordedView, condition_of

FIXED = ("received_at", "event_at", "topic")

_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}")
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TIME = ViewColumn(name="", type="timestamp")
_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
_INSTANT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
_KIND = """CASE json_type({json}) WHEN 'VARCHAR' THEN 'text' WHEN 'BOOLEAN' THEN 'boolean' WHEN 'NULL' THEN NULL
    WHEN 'OBJECT' THEN 'other' WHEN 'ARRAY' THEN 'other' ELSE CASE WHEN {json} IS NULL THEN NULL ELSE 'number' END END"""


def declared_view(
    name: str, topic_filter: str, columns: Sequence[ViewColumn], time: tuple[str | int, ...] | None
) -> RecordedView:
    """Return a view with declared columns.

    Args:
        name: of the view.
        topic_filter: of its messages.
        columns: beside `received_at`, `event_at` and `topic`.
        time: path of the device's time; without it, `event_at` is the time of reception.

    Raises:
        InvalidRequest: a name or the filter is invalid.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequest(f"{name!r} cannot name a table: letters, digits, - and _ can, 63 at most")
    for each in columns:
        if not _COLUMN.fullmatch(each.name) or each.name.lower() in FIXED:
            raise InvalidRequest(f"{each.name!r} cannot name a column")
    try:
        condition = condition_of(validate_filter(topic_filter))
    except InvalidTopic as error:
        raise InvalidRequest(str(error)) from error
    wanted = [*columns, ViewColumn(name="", type="timestamp", path=time)] if time else list(columns)
    has_path = any(each.path for each in wanted)
    json = "CASE WHEN json_valid(payload) THEN payload::JSON END"
    query = f"SELECT received_at, topic, payload, {json} AS document FROM messages WHERE {condition}"
    if has_path:  # else a payload that is no JSON is its own value
        query = f"SELECT * FROM ({query}) WHERE document IS NOT NULL"
    query = f"SELECT received_at, topic, {', '.join(_found(n, each) for n, each in enumerate(wanted))} FROM ({query})"
    for step in (_default, _strip, _number, _map, _calculate, _convert):
        replaced = [text for n, each in enumerate(wanted) if (text := step(n, each))]
        if replaced:
            query = f"SELECT * REPLACE ({', '.join(replaced)}) FROM ({query})"
    values = ", ".join(f"v{n} AS {identifier(each.name)}" for n, each in enumerate(columns))
    malformed = " OR ".join(f"(k{n} IS NOT NULL AND v{n} IS NULL)" for n in range(len(wanted)))
    present = " OR ".join(f"k{n} IS NOT NULL" for n in range(len(columns)))
    event_at = f"coalesce(v{len(columns)}, received_at)" if time else "received_at"
    select = (
        f"SELECT received_at, {event_at} AS event_at, topic, {values} FROM ({query}) WHERE ({present}) AND NOT ({malformed})"
    )
    return RecordedView(name, topic_filter, {each.name: "" for each in columns}, select)


def _found(n: int, column: ViewColumn) -> str:
    """Return the columns of a value as it is found: its text, its kind, and the place of the result."""
    found = "document"
    for key in column.path:
        found = f"json_extract({_picked(found, column)}, {_pointer(key)})"
    if column.pick:
        found = _picked(found, column)
    text, kind = f"{found}->>'$'", _KIND.format(json=found)
    if not column.path:
        text, kind = f"coalesce({text}, payload)", f"CASE WHEN document IS NULL THEN 'text' ELSE {kind} END"
    result = {"double": "DOUBLE", "bigint": "BIGINT", "boolean": "BOOLEAN", "varchar": "VARCHAR", "timestamp": "TIMESTAMPTZ"}
    return f"{text} AS t{n}, {kind} AS k{n}, NULL::{result[column.type]} AS v{n}"


def _picked(found: str, column: ViewColumn) -> str:
    """Return the element of a list of objects that the column picks, and anything else as it is."""
    if not column.pick:
        return found
    fields = " AND ".join(
        f"json_extract_string(each, {_pointer(field)}) = {literal(_text(value))}" for field, value in column.pick.items()
    )
    chosen = f"list_filter(CAST({found} AS JSON[]), lambda each: {fields})[1]"
    return f"CASE WHEN json_type({found}) = 'ARRAY' AND json_type({found}, '/0') = 'OBJECT' THEN {chosen} ELSE {found} END"


def _default(n: int, column: ViewColumn) -> str:
    if column.default is None:
        return ""
    text, kind = literal(_text(column.default)), literal(_kind(column.default))
    return f"CASE WHEN k{n} IS NULL THEN {text} ELSE t{n} END AS t{n}, coalesce(k{n}, {kind}) AS k{n}"


def _strip(n: int, column: ViewColumn) -> str:
    if column.strip is None:
        return ""
    text = f"trim(t{n}, ' \t\n\r')"
    if column.strip:
        cut = literal(column.strip)
        text = f"CASE WHEN starts_with({text}, {cut}) THEN substr({text}, length({cut}) + 1) ELSE {text} END"
        text = f"CASE WHEN ends_with({text}, {cut}) THEN left({text}, length({text}) - length({cut})) ELSE {text} END"
        text = f"trim({text}, ' \t\n\r')"
    return f"CASE WHEN k{n} = 'text' THEN {text} ELSE t{n} END AS t{n}"


def _number(n: int, column: ViewColumn) -> str:
    if not column.number:
        return ""
    is_number = f"regexp_full_match(trim(t{n}), {literal(_NUMBER)})"
    kind = f"CASE WHEN k{n} = 'text' THEN CASE WHEN {is_number} THEN 'number' ELSE 'other' END ELSE k{n} END"
    return f"trim(t{n}) AS t{n}, {kind} AS k{n}"


def _map(n: int, column: ViewColumn) -> str:
    if not column.map:
        return ""
    key = f"CASE WHEN k{n} = 'number' AND ends_with(t{n}, '.0') THEN left(t{n}, length(t{n}) - 2) ELSE t{n} END"
    texts = " ".join(f"WHEN {literal(each)} THEN {literal(_text(value))}" for each, value in column.map.items())
    kinds = " ".join(f"WHEN {literal(each)} THEN {literal(_kind(value))}" for each, value in column.map.items())
    kind = f"CASE WHEN k{n} IS NULL THEN NULL WHEN k{n} = 'other' THEN 'other' ELSE CASE {key} {kinds} ELSE 'other' END END"
    return f"CASE {key} {texts} END AS t{n}, {kind} AS k{n}"


def _calculate(n: int, column: ViewColumn) -> str:
    if column.scale is None and column.offset is None and column.low is None:
        return ""
    value = f"TRY_CAST(t{n} AS DOUBLE)"
    if column.scale is not None:
        value = f"{value} * {column.scale!r}::DOUBLE"
    if column.offset is not None:
        value = f"({value}) + {column.offset!r}::DOUBLE"
    fits = f"isfinite({value})"
    if column.low is not None and column.high is not None:
        fits += f" AND {value} BETWEEN {column.low!r}::DOUBLE AND {column.high!r}::DOUBLE"
    kind = f"CASE WHEN k{n} IS NULL THEN NULL WHEN k{n} = 'number' AND coalesce({fits}, false) THEN 'number' ELSE 'other' END"
    return f"CASE WHEN k{n} = 'number' THEN ({value})::VARCHAR ELSE t{n} END AS t{n}, {kind} AS k{n}"


def _convert(n: int, column: ViewColumn) -> str:
    """Return the value in the type of the column; null where it is of another."""
    number = f"TRY_CAST(t{n} AS DOUBLE)"
    finite = f"k{n} = 'number' AND isfinite({number})"
    match column.type:
        case "double":
            value = f"CASE WHEN {finite} THEN {number} END"
        case "bigint":
            exact = f"coalesce(CASE WHEN regexp_full_match(t{n}, '-?[0-9]+') THEN TRY_CAST(t{n} AS BIGINT) END, "
            value = f"CASE WHEN {finite} AND {number} = trunc({number}) THEN {exact}TRY_CAST({number} AS BIGINT)) END"
        case "boolean":
            value = f"CASE WHEN k{n} = 'boolean' THEN t{n} = 'true' END"
        case "varchar":
            value = f"CASE WHEN k{n} = 'text' THEN t{n} END"
        case "timestamp":
            text = f"CASE WHEN regexp_full_match(t{n}, {literal(_INSTANT)}) THEN TRY_CAST(t{n} AS TIMESTAMPTZ) END"
            seconds = f"CASE WHEN {number} > 1e11 THEN {number} / 1000 ELSE {number} END"
            instant = f"CASE WHEN {finite} AND {number} BETWEEN 0 AND 1e14 THEN to_timestamp({seconds}) END"
            value = f"CASE WHEN k{n} = 'text' THEN {text} WHEN k{n} = 'number' THEN {instant} END"
    return f"{value} AS v{n}"


def _pointer(key: str | int) -> str:
    return literal("/" + str(key).replace("~", "~0").replace("/", "~1"))


def _text(value: bool | int | float | str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)


def _kind(value: bool | int | float | str) -> str:
    return "boolean" if isinstance(value, bool) else "number" if isinstance(value, (int, float)) else "text"
