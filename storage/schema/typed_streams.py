"""Compiles the typed tables of the contract (`broker.contract.table`) to the SQL that fills them beside `messages`."""

from dataclasses import dataclass

from broker.contract import tables
from broker.contract.sql import literal
from broker.contract.table import Column, Kind, Need, Table
from storage.schema.strict_json import bare_sql, fault_sql, plain_sql

_NULL = frozenset({"NULL"})
_TEXT = frozenset({"VARCHAR"})
_NUMBER = frozenset({"BIGINT", "UBIGINT", "HUGEINT", "UHUGEINT", "DOUBLE"})
_ARRAY = frozenset({"ARRAY"})
_OBJECT = frozenset({"OBJECT"})
_FIELD_TYPES = {Kind.TEXT: "VARCHAR", Kind.NUMBER: "DOUBLE", Kind.INSTANT: "TIMESTAMPTZ", Kind.BOOLEAN: "BOOLEAN"}
"""DuckDB's types for the fields of a struct."""
_OPTIONAL = (Need.OPTIONAL, Need.NULLABLE)


@dataclass(frozen=True, slots=True)
class _Rule:
    """SQL with which a kind of column reads its field.

    `sql` is null where the field does not hold what is `wanted`. It may use `{field}`, the field as JSON; `{json}`, its JSON
    text; `{text}`, its string, null for anything else; `{number}`, its number; `{base64}`, whether the payload's encoding is
    base64; and, as `wanted` may, the settings of the column. `json_types` are DuckDB's names for what JSON may hold there.
    """

    sql: str
    wanted: str
    json_types: frozenset[str]


_RULES = {
    Kind.TEXT: _Rule("nullif({text}, '')", "text", _TEXT),
    Kind.CHOICE: _Rule("CASE WHEN {text} IN ({choices}) THEN {text} END", "one of {choices}", _TEXT),
    Kind.CONSTANT: _Rule("CASE WHEN {text} = '{value}' THEN {text} END", '"{value}"', _TEXT),
    Kind.NUMBER: _Rule("CASE WHEN isfinite({number}) THEN {number} END", "a finite number", _NUMBER),
    Kind.LIMITED_NUMBER: _Rule(
        "CASE WHEN {number} BETWEEN {low} AND {high} THEN {number} END", "a number from {low} to {high}", _NUMBER
    ),
    Kind.INTEGER: _Rule(
        "CASE WHEN {number} BETWEEN {low} AND {high} AND {number} = floor({number}) THEN {number}::BIGINT END",
        "a whole number from {low} to {high}",
        _NUMBER,
    ),
    Kind.INSTANT: _Rule(
        r"CASE WHEN regexp_full_match({text}, '\d{{4}}-.*([Zz]|[+-]\d\d:?\d\d)') THEN TRY_CAST({text} AS TIMESTAMPTZ) END",
        "RFC 3339",
        _TEXT,
    ),
    Kind.BOOLEAN: _Rule("TRY_CAST({json} AS BOOLEAN)", "true or false", frozenset({"BOOLEAN"})),
    Kind.ARRAY: _Rule("CASE WHEN starts_with({json}, '[') THEN {json} END", "an array", _ARRAY),
    Kind.OBJECT: _Rule("CASE WHEN starts_with({json}, '{{') THEN {json} END", "an object", _OBJECT),
    Kind.STRUCTS: _Rule(
        "CASE WHEN starts_with({json}, '[') THEN TRY(from_json({field}, '[{{{shape}}}]')) END", "an array of objects", _ARRAY
    ),
    Kind.IDENTIFIER: _Rule("{json}", "text or a number", _TEXT | _NUMBER),
    Kind.TEXT_PAYLOAD: _Rule(
        "CASE WHEN NOT ({base64}) THEN json_extract_string({field}, '$') END", "a payload", _TEXT | _NUMBER
    ),
    Kind.BINARY_PAYLOAD: _Rule(
        "CASE WHEN {base64} THEN TRY(from_base64(json_extract_string({field}, '$'))) END", "a payload", _TEXT | _NUMBER
    ),
}
_SHORT_TEXT = _Rule("CASE WHEN length({text}) BETWEEN 1 AND {high} THEN {text} END", "text of {high} characters at most", _TEXT)
_BASE64 = "json_extract_string(field.\"encoding\", '$') IS NOT DISTINCT FROM 'base64'"


@dataclass(frozen=True, slots=True)
class CompiledColumn:
    """A column of a typed table in SQL.

    `sql` is an expression over the struct `field`, which holds the JSON text of each field of the payload; it is null where the
    payload does not hold what is `wanted`. `key` is the field of the payload itself, `json_types` what it may be.
    """

    name: str
    key: str
    sql: str
    wanted: str
    json_types: frozenset[str]
    need: Need


def compile_column(column: Column) -> CompiledColumn:
    """Compile the declaration of a column."""
    rule, key = _RULES[column.kind], column.outer or column.key
    if column.kind is Kind.TEXT and column.high:
        rule = _SHORT_TEXT
    field = f"json_extract(field.\"{column.outer}\", '$.{column.key}')" if column.outer else f'field."{column.key}"'
    settings = {
        "low": column.low,
        "high": column.high,
        "value": column.value,
        "choices": ", ".join(map(literal, column.choices)),
    }
    sql = rule.sql.format(
        field=field,
        json=f"{field}::VARCHAR",
        text=f"CASE WHEN starts_with({field}::VARCHAR, '\"') THEN json_extract_string({field}, '$') END",
        number=f"TRY_CAST({field}::VARCHAR AS DOUBLE)",
        base64=_BASE64,
        shape=",".join(f'"{name}":"{_FIELD_TYPES[kind]}"' for name, kind in column.fields.items()),
        **settings,
    )
    path = f"{column.outer}.{column.key}" if column.outer else column.key
    json_types = _OBJECT if column.outer else rule.json_types | (_NULL if column.need is Need.NULLABLE else set())
    return CompiledColumn(column.name, key, sql, f"{path} ({rule.wanted.format(**settings)})", json_types, column.need)


class TypedStream:
    """A stream and the table that its messages fill, in SQL."""

    def __init__(self, declared: Table) -> None:
        self.stream, self.table = declared.stream, declared.name
        self._levels, self._known_keys = declared.levels, declared.known_keys
        self._columns = tuple(map(compile_column, declared.columns))
        self._read = self._columns + tuple(map(compile_column, declared.conditions))

    @property
    def names(self) -> tuple[str, ...]:
        """Columns of the table that the stream fills."""
        return ("number", "received_at", "event_at", *self._levels.values(), *(column.name for column in self._columns))

    @property
    def keys(self) -> dict[str, frozenset[str]]:
        """Known fields of the payload, with the JSON types that they may have."""
        known = dict.fromkeys(self._known_keys, _TEXT | _NUMBER)
        return {column.key: column.json_types for column in self._read} | known

    def rows_sql(self, source: str) -> str:
        """Return the query for the typed rows of `source`, which has the columns of `messages`."""
        projected = f"WITH projected AS MATERIALIZED ({self._projection(source)})"  # else DuckDB reads the JSON twice
        return f"{projected} SELECT {', '.join(self.names)} FROM projected WHERE {self._identified}"

    def insert_sql(self, code: int) -> str:
        """Return the statement that fills the table from the rows of the view `batch` whose `stream` is `code`."""
        return f"INSERT INTO live.{self.table} ({', '.join(self.names)}) {self.rows_sql(_of_batch(code))}"

    def incomplete_sql(self, first_number: str) -> str:
        """Return the query for the number of typed rows, from message `first_number` on, that lack a measured value."""
        return f"SELECT count(*) FROM live.{self.table} WHERE number >= {first_number} AND NOT ({_all_there(self._measured)})"

    def reject_sql(self, code: int) -> str:
        """Return the statement that lists in `rejected_message` the rows of `batch` that are not, or not completely, typed."""
        return f"""
            INSERT INTO live.rejected_message (number, received_at, event_at, component, topic, reason, payload, payload_raw)
            {self.rejects_sql(_of_batch(code))}"""

    def rejects_sql(self, source: str) -> str:
        """Return the query for the messages of `source` that belong in `rejected_message`."""
        wanted = ", ".join(column.wanted for column in self._read if column.need not in _OPTIONAL).replace("'", "''")
        return f"""
            SELECT number, received_at, event_at, 'recorder' AS component, message_topic AS topic,
                coalesce(fault, 'wrong shape: needs {wanted}') AS reason,
                message_payload AS payload, message_payload_raw AS payload_raw
            FROM ({self._projection(f"(SELECT * FROM {source} WHERE (retain AND payload = '') IS NOT TRUE)")})
            WHERE ({self._identified} AND {_all_there(self._measured)}) IS NOT TRUE"""

    @property
    def _measured(self) -> list[CompiledColumn]:
        return [column for column in self._read if column.need is Need.MEASURED]

    @property
    def _identified(self) -> str:
        identity = [column for column in self._read if column.need is Need.IDENTITY]
        return f"fault IS NULL AND is_object AND {_all_there(identity)}"

    def _projection(self, source: str) -> str:
        shape = ", ".join(f'"{key}":"JSON"' for key in sorted(self.keys))
        parts = self.stream.template.text.split("/")
        levels = [
            f"split_part(message_topic, '/', {parts.index('{' + level + '}') + 1}) AS {column}"
            for level, column in self._levels.items()
        ]
        columns = [f"{column.sql} AS {column.name}" for column in self._read]
        kept = ["number", "received_at", "event_at", "message_topic", "message_payload", "message_payload_raw"]
        known = " + ".join(f'(field."{key}" IS NOT NULL)::INTEGER' for key in self.keys)
        fault = f"""
            CASE WHEN plain AND len(json_keys(message_payload)) = {known} THEN NULL
                 WHEN message_payload IS NULL THEN 'not UTF-8' WHEN message_payload = '' THEN 'empty payload'
                 WHEN NOT json_valid(message_payload) THEN 'not JSON'
                 ELSE {fault_sql("message_payload", "bare")} END AS fault"""
        is_object = "CASE WHEN plain THEN true ELSE ltrim(message_payload, e' \\t\\r\\n')[1] = '{' END AS is_object"
        return f"""
            SELECT {", ".join([*kept, fault, is_object, *levels, *columns])} FROM (
                SELECT *, CASE WHEN CASE WHEN plain THEN true ELSE json_valid(message_payload) END
                        THEN json_transform(message_payload, '{{{shape}}}') END AS field,
                    CASE WHEN NOT plain THEN {bare_sql("message_payload")} END AS bare
                FROM (SELECT number, received_at, event_at, topic AS message_topic, payload AS message_payload,
                        payload_raw AS message_payload_raw, {plain_sql("payload")} AS plain
                      FROM {source}))"""


def _of_batch(code: int) -> str:
    return f"(SELECT * FROM batch WHERE stream = {code})"


def _all_there(columns: list[CompiledColumn]) -> str:
    return " AND ".join(f"{column.name} IS NOT NULL" for column in columns) or "true"


TYPED_STREAMS = tuple(map(TypedStream, tables()))


class StreamCodes:
    """Maps a topic to its typed stream: the index in `TYPED_STREAMS`, or -1. Caches topics, up to a limit."""

    _CAPACITY = 100_000

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def __getitem__(self, topic: str) -> int:
        code = self._known.get(topic)
        if code is None:
            code = next((n for n, typed in enumerate(TYPED_STREAMS) if typed.stream.parse(topic) is not None), -1)
            if len(self._known) >= self._CAPACITY:
                self._known.clear()
            self._known[topic] = code
        return code
