"""Typed tables beside `messages`: one `TypedStream` says how a stream's payload becomes columns.

A new kind of device is one entry in `TYPED_STREAMS` and one migration that creates its table.
"""

from dataclasses import dataclass

from broker.contract import components, heating
from broker.stream import AnyStream


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a typed table.

    `sql` is an expression over the struct `field`, which holds the JSON text of each of `keys`; it is null where the payload
    has not what is `wanted`.
    """

    name: str
    sql: str
    keys: tuple[str, ...]
    wanted: str
    required: bool = True


def text(name: str, key: str) -> Column:
    """Declare a column of text; the payload must hold a string that is not empty."""
    return Column(name, f"nullif({_text_sql(key)}, '')", (key,), f"{key} (text)")


def literal(key: str, value: str) -> Column:
    """Declare that a payload must say `value` under `key`; this is not stored."""
    said = _text_sql(key)
    return Column(f"{key}_said", f"CASE WHEN {said} = '{value}' THEN {said} END", (key,), f'{key} ("{value}")')


def number(name: str, key: str) -> Column:
    """Declare a column of finite numbers; the payload must hold a number, not a numeric string and not a boolean."""
    value = _number_sql(key)
    return Column(name, f"CASE WHEN isfinite({value}) THEN {value} END", (key,), f"{key} (a finite number)")


def integer(name: str, key: str, low: int, high: int) -> Column:
    """Declare a column of whole numbers from `low` to `high`."""
    value = _number_sql(key)
    valid = f"{value} BETWEEN {low} AND {high} AND {value} = floor({value})"
    wanted = f"{key} (a whole number from {low} to {high})"
    return Column(name, f"CASE WHEN {valid} THEN {value}::BIGINT END", (key,), wanted)


def _text_sql(key: str) -> str:
    return f'CASE WHEN starts_with(field."{key}"::VARCHAR, \'"\') THEN json_extract_string(field."{key}", \'$\') END'


def _number_sql(key: str) -> str:
    return f'TRY_CAST(field."{key}"::VARCHAR AS DOUBLE)'


@dataclass(frozen=True, slots=True)
class TypedStream:
    """A stream and the table that its messages fill; `levels` names the topic levels that become columns."""

    stream: AnyStream
    table: str
    levels: tuple[str, ...]
    columns: tuple[Column, ...]
    conditions: tuple[Column, ...] = ()
    """What a payload must say besides, without a column of its own."""

    def insert_sql(self, code: int) -> str:
        """Return the statement that fills the table from the rows of the view `batch` whose `stream` is `code`."""
        names = ", ".join(["received_at", "event_at", *self.levels, *(column.name for column in self.columns)])
        return f"INSERT INTO {self.table} ({names}) SELECT {names} FROM ({self._projection(code)}) WHERE {self._valid()}"

    def reject_sql(self, code: int) -> str:
        """Return the statement that lists in `rejected_message` the rows of `batch` that `insert_sql` leaves out."""
        wanted = ", ".join(column.wanted for column in self._read if column.required).replace("'", "''")
        return f"""
            INSERT INTO rejected_message (received_at, event_at, component, topic, reason, payload, payload_raw)
            SELECT received_at, event_at, 'recorder', message_topic,
                CASE WHEN message_payload IS NULL THEN 'not UTF-8' WHEN message_payload = '' THEN 'empty payload'
                     WHEN NOT json_valid(message_payload) THEN 'not JSON' ELSE 'wrong shape: needs {wanted}' END,
                message_payload, message_payload_raw
            FROM ({self._projection(code)}) WHERE ({self._valid()}) IS NOT TRUE"""

    @property
    def _read(self) -> tuple[Column, ...]:
        return self.columns + self.conditions

    def _projection(self, code: int) -> str:
        shape = ", ".join(f'"{key}":"JSON"' for key in sorted({key for column in self._read for key in column.keys}))
        parts = self.stream.template.text.split("/")
        levels = [f"split_part(message_topic, '/', {parts.index('{' + name + '}') + 1}) AS {name}" for name in self.levels]
        columns = [f"{column.sql} AS {column.name}" for column in self._read]
        kept = ["received_at", "event_at", "message_topic", "message_payload", "message_payload_raw"]
        return f"""
            SELECT {", ".join([*kept, *levels, *columns])} FROM (
                SELECT received_at, event_at, topic AS message_topic, payload AS message_payload,
                    payload_raw AS message_payload_raw,
                    CASE WHEN json_valid(payload) THEN json_transform(payload, '{{{shape}}}') END AS field
                FROM batch WHERE stream = {code})"""

    def _valid(self) -> str:
        return " AND ".join(f"{column.name} IS NOT NULL" for column in self._read if column.required)


_BASE64 = "json_extract_string(field.encoding, '$') IS NOT DISTINCT FROM 'base64'"
_PAYLOAD = "json_extract_string(field.payload, '$')"

TYPED_STREAMS = (
    TypedStream(
        heating.READING,
        "room_temperature",
        ("room",),
        (text("sensor", "sensorID"), number("celsius", "value")),
        (literal("type", "temperature"),),
    ),
    TypedStream(heating.VALVE_LEVEL, "valve_level", ("room",), (integer("level", "level", 0, 100),)),
    TypedStream(
        components.STATE,
        "component_state",
        ("component",),
        (text("state", "state"), text("boot", "boot"), text("version", "version")),
    ),
    TypedStream(
        components.REJECTED,
        "rejected_message",
        ("component",),
        (
            text("topic", "topic"),
            text("reason", "reason"),
            Column("payload", f"CASE WHEN NOT ({_BASE64}) THEN {_PAYLOAD} END", ("payload", "encoding"), "", required=False),
            Column(
                "payload_raw",
                f"CASE WHEN {_BASE64} THEN TRY(from_base64({_PAYLOAD})) END",
                ("payload", "encoding"),
                "",
                required=False,
            ),
        ),
    ),
)


class StreamCodes:
    """Tells which typed stream a topic belongs to: its place in `TYPED_STREAMS`, or -1. Remembers topics, up to a bound."""

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
