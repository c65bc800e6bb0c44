"""Typed tables beside `messages`: one `TypedStream` says how a stream's payload becomes columns.

A new kind of device is one entry in `TYPED_STREAMS` and one migration that creates its table in the schema `live`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from broker.contract.charging import topics as charging
from broker.contract.components import topics as components
from broker.contract.energy import topics as energy
from broker.contract.fastening import topics as fastening
from broker.contract.heating import topics as heating
from broker.contract.machines import topics as machines
from broker.stream import AnyStream


class Need(Enum):
    """What it means when a payload has not what a column wants."""

    IDENTITY = "there is no typed row"
    MEASURED = "the column is null, and the message is listed in `rejected_message`"
    OPTIONAL = "the column is null"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a typed table.

    `sql` is an expression over the struct `field`, which holds the JSON text of each of `keys`; it is null where the payload
    has not what is `wanted`. `json_types` are DuckDB's names for what JSON may say under the first key.
    """

    name: str
    sql: str
    keys: tuple[str, ...]
    wanted: str
    json_types: frozenset[str]
    need: Need = Need.MEASURED


_TEXT = frozenset({"VARCHAR"})
_NULL = frozenset({"NULL"})
_OBJECT = frozenset({"OBJECT"})
_NUMBER = frozenset({"BIGINT", "UBIGINT", "HUGEINT", "UHUGEINT", "DOUBLE"})


def text(name: str, key: str, need: Need = Need.MEASURED) -> Column:
    """Declare a column of text; the payload must hold a string that is not empty."""
    return Column(name, f"nullif({_text_sql(key)}, '')", (key,), f"{key} (text)", _TEXT, need)


def literal(key: str, value: str) -> Column:
    """Declare that a payload must say `value` under `key`; this is not stored."""
    said = _text_sql(key)
    sql = f"CASE WHEN {said} = '{value}' THEN {said} END"
    return Column(f"{key}_said", sql, (key,), f'{key} ("{value}")', _TEXT, Need.IDENTITY)


def number(name: str, key: str, need: Need = Need.MEASURED) -> Column:
    """Declare a column of finite numbers; the payload must hold a number, not a numeric string and not a boolean."""
    value = _number_sql(key)
    return Column(name, f"CASE WHEN isfinite({value}) THEN {value} END", (key,), f"{key} (a finite number)", _NUMBER, need)


def nullable_number(key: str) -> Column:
    """Declare a column of numbers that may well be null."""
    return replace(number(key, key, Need.OPTIONAL), json_types=_NUMBER | _NULL)


def nullable_text(key: str) -> Column:
    """Declare a column of text that may well be null."""
    return replace(text(key, key, Need.OPTIONAL), json_types=_TEXT | _NULL)


def instant(key: str) -> Column:
    """Declare a column of instants that a payload need not have: RFC 3339 text with its offset."""
    said = _text_sql(key)
    valid = rf"regexp_full_match({said}, '\d{{4}}-.*([Zz]|[+-]\d\d:?\d\d)')"
    return Column(key, f"CASE WHEN {valid} THEN TRY_CAST({said} AS TIMESTAMPTZ) END", (key,), "", _TEXT, Need.OPTIONAL)


def nullable_instant(key: str) -> Column:
    """Declare a column of instants that may well be null."""
    return replace(instant(key), json_types=_TEXT | _NULL)


def boolean(name: str, key: str) -> Column:
    """Declare a column of true and false that a payload need not have."""
    return Column(name, f'TRY_CAST(field."{key}"::VARCHAR AS BOOLEAN)', (key,), "", frozenset({"BOOLEAN"}), Need.OPTIONAL)


def json_array(key: str, need: Need = Need.MEASURED) -> Column:
    """Declare a column with the JSON text of an array."""
    sql = f'CASE WHEN starts_with(field."{key}"::VARCHAR, \'[\') THEN field."{key}"::VARCHAR END'
    return Column(key, sql, (key,), f"{key} (an array)", frozenset({"ARRAY"}), need)


def structs(name: str, key: str, shape: str) -> Column:
    """Declare a column with a list of structs; `shape` says in JSON which fields they have, of which types."""
    sql = f"CASE WHEN starts_with(field.\"{key}\"::VARCHAR, '[') THEN TRY(from_json(field.\"{key}\", '[{shape}]')) END"
    return Column(name, sql, (key,), f"{key} (an array of objects)", frozenset({"ARRAY"}))


def json_object(key: str, need: Need = Need.OPTIONAL) -> Column:
    """Declare a column with the JSON text of an object."""
    sql = f'CASE WHEN starts_with(field."{key}"::VARCHAR, \'{{\') THEN field."{key}"::VARCHAR END'
    return Column(key, sql, (key,), f"{key} (an object)", _OBJECT, need)


def inside(outer: str, column: Column) -> Column:
    """Declare that what a column wants is in the object that the payload has under `outer`."""
    (key,) = column.keys
    sql = column.sql.replace(f'field."{key}"', f"json_extract(field.\"{outer}\", '$.{key}')")
    return replace(column, sql=sql, keys=(outer,), wanted=f"{outer}.{column.wanted}", json_types=_OBJECT)


def integer(name: str, key: str, low: int, high: int) -> Column:
    """Declare a column of whole numbers from `low` to `high`."""
    value = _number_sql(key)
    valid = f"{value} BETWEEN {low} AND {high} AND {value} = floor({value})"
    wanted = f"{key} (a whole number from {low} to {high})"
    return Column(name, f"CASE WHEN {valid} THEN {value}::BIGINT END", (key,), wanted, _NUMBER)


def percentage(name: str, key: str) -> Column:
    """Declare a column of numbers from 0 to 100."""
    value = _number_sql(key)
    sql = f"CASE WHEN {value} BETWEEN 0 AND 100 THEN {value} END"
    return Column(name, sql, (key,), f"{key} (a number from 0 to 100)", _NUMBER)


def _text_sql(key: str) -> str:
    return f'CASE WHEN starts_with(field."{key}"::VARCHAR, \'"\') THEN json_extract_string(field."{key}", \'$\') END'


def _number_sql(key: str) -> str:
    return f'TRY_CAST(field."{key}"::VARCHAR AS DOUBLE)'


@dataclass(frozen=True, slots=True)
class TypedStream:
    """A stream and the table that its messages fill; `levels` names the topic levels that become columns.

    `renamed` has the column's name for a level, where it is not the level's own.
    """

    stream: AnyStream
    table: str
    levels: tuple[str, ...]
    columns: tuple[Column, ...]
    conditions: tuple[Column, ...] = ()
    """What a payload must say besides, without a column of its own."""
    renamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the table that the stream fills."""
        return (
            "number",
            "received_at",
            "event_at",
            *map(self._level_column, self.levels),
            *(column.name for column in self.columns),
        )

    @property
    def keys(self) -> dict[str, frozenset[str]]:
        """The fields of the payload that are known, with what JSON types they may have."""
        return {key: column.json_types for column in self._read for key in column.keys}

    def rows_sql(self, source: str) -> str:
        """Return the query for the typed rows of `source`, which has the columns of `messages`."""
        projected = f"WITH projected AS MATERIALIZED ({self._projection(source)})"  # else DuckDB reads the JSON twice
        return f"{projected} SELECT {', '.join(self.names)} FROM projected WHERE {self._identified}"

    def insert_sql(self, code: int) -> str:
        """Return the statement that fills the table from the rows of the view `batch` whose `stream` is `code`."""
        return f"INSERT INTO live.{self.table} ({', '.join(self.names)}) {self.rows_sql(_of_batch(code))}"

    def incomplete_sql(self, first_number: str) -> str:
        """Return the query for the number of typed rows from the message `first_number` on that lack a measured value."""
        return f"SELECT count(*) FROM live.{self.table} WHERE number >= {first_number} AND NOT ({_all_there(self._measured)})"

    def reject_sql(self, code: int) -> str:
        """Return the statement that lists in `rejected_message` the rows of `batch` that are not typed, or not completely."""
        return f"""
            INSERT INTO live.rejected_message (number, received_at, event_at, component, topic, reason, payload, payload_raw)
            {self.rejects_sql(_of_batch(code))}"""

    def rejects_sql(self, source: str) -> str:
        """Return the query for what of `source` belongs into `rejected_message`."""
        wanted = ", ".join(column.wanted for column in self._read if column.need is not Need.OPTIONAL).replace("'", "''")
        return f"""
            SELECT number, received_at, event_at, 'recorder' AS component, message_topic AS topic,
                CASE WHEN message_payload IS NULL THEN 'not UTF-8' WHEN message_payload = '' THEN 'empty payload'
                     WHEN NOT json_valid(message_payload) THEN 'not JSON' ELSE 'wrong shape: needs {wanted}' END AS reason,
                message_payload AS payload, message_payload_raw AS payload_raw
            FROM ({self._projection(source)}) WHERE ({self._identified} AND {_all_there(self._measured)}) IS NOT TRUE"""

    def _level_column(self, level: str) -> str:
        return self.renamed.get(level, level)

    @property
    def _read(self) -> tuple[Column, ...]:
        return self.columns + self.conditions

    @property
    def _measured(self) -> list[Column]:
        return [column for column in self._read if column.need is Need.MEASURED]

    @property
    def _identified(self) -> str:
        identity = [column for column in self._read if column.need is Need.IDENTITY]
        return f"is_object AND {_all_there(identity)}"

    def _projection(self, source: str) -> str:
        shape = ", ".join(f'"{key}":"JSON"' for key in sorted(self.keys))
        parts = self.stream.template.text.split("/")
        levels = [
            f"split_part(message_topic, '/', {parts.index('{' + name + '}') + 1}) AS {self._level_column(name)}"
            for name in self.levels
        ]
        columns = [f"{column.sql} AS {column.name}" for column in self._read]
        kept = ["number", "received_at", "event_at", "message_topic", "message_payload", "message_payload_raw"]
        is_object = "coalesce(ltrim(message_payload, e' \\t\\r\\n')[1] = '{' AND field IS NOT NULL, false) AS is_object"
        return f"""
            SELECT {", ".join([*kept, is_object, *levels, *columns])} FROM (
                SELECT number, received_at, event_at, topic AS message_topic, payload AS message_payload,
                    payload_raw AS message_payload_raw,
                    CASE WHEN json_valid(payload) THEN json_transform(payload, '{{{shape}}}') END AS field
                FROM {source})"""


def _of_batch(code: int) -> str:
    return f"(SELECT * FROM batch WHERE stream = {code})"


def _all_there(columns: list[Column]) -> str:
    return " AND ".join(f"{column.name} IS NOT NULL" for column in columns) or "true"


_BASE64 = "json_extract_string(field.encoding, '$') IS NOT DISTINCT FROM 'base64'"
_PAYLOAD = "json_extract_string(field.payload, '$')"


def _rejected_payload(name: str, sql: str) -> Column:
    return Column(name, sql, ("payload", "encoding", "at", "size"), "", _TEXT | _NUMBER, Need.OPTIONAL)


_QUARTER = '{"datetime":"TIMESTAMPTZ","value":"DOUBLE","quality":"VARCHAR","coverage":"DOUBLE","negative":"BOOLEAN"}'
_SHIP = Column("ship_said", "field.spaceship_id::VARCHAR", ("spaceship_id",), "", _TEXT | _NUMBER, Need.OPTIONAL)
_KWH = literal("units", "kWh")

TYPED_STREAMS = (
    TypedStream(
        heating.READING,
        "room_temperature",
        ("room",),
        (text("sensor", "sensorID", Need.IDENTITY), number("celsius", "value")),
        (literal("type", "temperature"),),
    ),
    TypedStream(heating.VALVE_LEVEL, "valve_level", ("room",), (integer("level", "level", 0, 100),)),
    TypedStream(
        fastening.EVENT,
        "fastening_log",
        ("driver",),
        (
            text("event", "event", Need.IDENTITY),
            text("job", "job"),
            text("serial", "serial", Need.IDENTITY),
            text("part_number", "part_number"),
            text("revision", "revision"),
            integer("step", "step", 1, 1_000_000),
            number("torque_nm", "torque_nm", Need.OPTIONAL),
            number("target_nm", "target_nm"),
            number("min_nm", "min_nm"),
            number("max_nm", "max_nm"),
            boolean("in_range", "in_range"),
            boolean("voided", "void"),
            boolean("asked", "asked"),
            text("reason", "reason", Need.OPTIONAL),
        ),
        (json_array("results", Need.OPTIONAL),),
    ),
    TypedStream(fastening.CATALOG, "torque_catalog", (), (json_array("serials"), json_array("parts"))),
    TypedStream(
        machines.READING,
        "machine_reading",
        ("id",),
        (
            integer("id", "id", -(2**53), 2**53),
            nullable_text("name"),
            nullable_text("description"),
            number("temperature", "temperature"),
            number("fan_speed", "fan_speed"),
            nullable_text("status"),
            instant("timestamp"),
        ),
        renamed={"id": "machine"},
    ),
    TypedStream(
        machines.AVERAGE,
        "machine_average",
        ("id",),
        (nullable_number("average_temperature"), nullable_number("average_speed"), nullable_text("status")),
        (json_object("left_out"),),
        renamed={"id": "machine"},
    ),
    TypedStream(energy.INTERVAL, "energy_told", ("ship",), (structs("quarters", "data", _QUARTER),), (_SHIP, _KWH)),
    TypedStream(
        energy.ANOMALY,
        "energy_anomaly",
        ("ship",),
        (
            replace(instant("datetime"), name="start_at"),
            text("kind", "kind"),
            replace(nullable_number("value"), name="kwh"),
            replace(nullable_number("expected"), name="expected_kwh"),
            text("text", "text"),
        ),
        (_SHIP,),
    ),
    TypedStream(
        charging.SOC,
        "charger_soc",
        ("id",),
        (inside("data", percentage("soc", "soc")),),
        (literal("event", "StateOfCharge"),),
        renamed={"id": "charger"},
    ),
    TypedStream(
        charging.STATUS,
        "widget_status",
        ("id",),
        (inside("data", text("status", "status")),),
        (literal("event", "chargingStatus"),),
        renamed={"id": "widget"},
    ),
    TypedStream(
        charging.SESSION,
        "charging_told",
        ("id",),
        (
            text("session", "session", Need.IDENTITY),
            text("widget", "widget"),
            replace(instant("started_at"), wanted="started_at (RFC 3339)", need=Need.MEASURED),
            number("soc_start", "soc_start"),
            nullable_instant("ended_at"),
            nullable_number("soc_end"),
            nullable_number("duration_s"),
            nullable_text("ended_by"),
        ),
        renamed={"id": "charger"},
    ),
    TypedStream(charging.PAIRS, "charging_pairs", (), (json_object("pairs", Need.IDENTITY),)),
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
            text("topic", "topic", Need.IDENTITY),
            text("reason", "reason", Need.IDENTITY),
            _rejected_payload("payload", f"CASE WHEN NOT ({_BASE64}) THEN {_PAYLOAD} END"),
            _rejected_payload("payload_raw", f"CASE WHEN {_BASE64} THEN TRY(from_base64({_PAYLOAD})) END"),
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
