"""Components and typed tables take the same from every payload: generated ones, valid or not, are read by both."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.contract.charging.topics import SOC, STATUS
from broker.contract.components.topics import STATE
from broker.contract.heating.topics import READING as TEMPERATURE
from broker.contract.heating.topics import VALVE_LEVEL
from broker.contract.machines.topics import READING
from broker.errors import Rejected
from broker.message import DEEPEST, convert, decode_json
from broker.stream import AnyStream
from controllers.moving_average.reading import number
from storage.schema.typed_streams import TYPED_STREAMS, TypedStream

_STRINGS = [
    *(
        '"temperature"',
        '"sensor-1"',
        '"StateOfCharge"',
        '"chargingStatus"',
        '"charging"',
        '"online"',
        '"IDLE"',
        '""',
        '"7"',
        '"NaN"',
    ),
    *(
        '"\\u0000"',
        '"\\ud800"',
        '"\\udc00x"',
        '"\\ud83d\\ude00"',
        '"a\\"b,]"',
        '"\\\\"',
        '"a:b"',
        '"\u00e9\u2028"',
        '"\x7f"',
        '"\t"',
        '"\\x"',
    ),
    f'"{"x" * 257}"',
]
_NUMBERS = [
    *("0", "-0", "-0.0", "1", "7", "14.0", "20.5", "25.30", "1e1", "1E+2", "100.0", "1e-400", "4.9e-324", "0.1e1", "101", "-1"),
    *("9007199254740991", "9007199254740992", "9007199254740993", "9223372036854775808", "18446744073709551616"),
    *(
        "123456789012345678901234567890",
        "1.7976931348623157e308",
        "1.7976931348623159e308",
        "1e308",
        "1e309",
        "1e999",
        "-1e999",
    ),
    *("9" * 309, "1" + "0" * 308, "0." + "0" * 400 + "1", "12345e305", "NaN", "nan", "Infinity", "-Infinity", "inf", "-inf"),
    *("01", "+1", ".5", "5.", "0x10", "1_000", "١"),
]
_SCALARS = st.sampled_from([*_STRINGS, *_NUMBERS, "true", "false", "null", "tru", "", "'a'"]) | st.floats().map(repr)
_SPACES = st.sampled_from(["", "", "", "", " ", "\t\r\n ", "\x0b", "\x00", "\ufeff"])
_BEFORE = st.sampled_from(["", "", "", "", " ", "\n", "\ufeff", "x", "\x00"])
_AFTER = st.sampled_from(["", "", "", "", " ", "\n", "x", "\x00", "}", " {}", "//", ","])
_FIELDS = {
    TEMPERATURE: ["sensorID", "type", "value"],
    VALVE_LEVEL: ["level"],
    READING: ["id", "name", "description", "temperature", "fan_speed", "status", "timestamp"],
    SOC: ["event", "data", "soc"],
    STATUS: ["event", "data", "status"],
    STATE: ["state", "boot", "version"],
}
_VALID = {
    TEMPERATURE: '{"sensorID":"s","type":"temperature","value":20.5}',
    VALVE_LEVEL: '{"level":14}',
    READING: '{"id":7,"name":"n","description":"d","temperature":30.21,"fan_speed":811.62,"status":"IDLE"}',
    SOC: '{"event":"StateOfCharge","data":{"soc":70}}',
    STATUS: '{"event":"chargingStatus","data":{"status":"charging"}}',
    STATE: '{"state":"online","boot":"b","version":"1"}',
}
_COLUMNS = {
    TEMPERATURE: ("sensor", "celsius"),
    VALVE_LEVEL: ("level",),
    READING: ("id", "temperature", "fan_speed", "status"),
    SOC: ("soc",),
    STATUS: ("status",),
    STATE: ("state", "boot", "version"),
}


def _taken(stream: AnyStream, payload: bytes) -> tuple[Any, ...] | None:
    """Return what a component takes, in the order of `_COLUMNS`; None where it rejects the payload."""
    try:
        found = convert(decode_json(payload), stream.payload)
    except Rejected:
        return None
    if stream is TEMPERATURE:
        return found.sensor_id, found.value
    if stream is VALVE_LEVEL:
        return (found.level,)
    if stream is READING:
        status = found.status if isinstance(found.status, str) and found.status else None
        return found.id, number(found.temperature), number(found.fan_speed), status
    if stream is SOC:
        return (found.data.soc,)
    if stream is STATUS:
        return (found.data.status.value,)
    return found.state.value, found.boot or None, found.version or None


@dataclass(frozen=True)
class _Recorded:
    row: tuple[Any, ...] | None
    listed: bool


def _recorded(stream: AnyStream, payloads: Sequence[bytes]) -> list[_Recorded]:
    """Return the typed row of each payload, and whether it is listed in `rejected_message`."""
    typed = next(each for each in TYPED_STREAMS if each.stream is stream)
    topic = stream.template.topic(**dict.fromkeys(stream.template.parameters, "7"))
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1; SET TimeZone = 'UTC'")
        connection.execute("""CREATE TABLE given (number BIGINT, received_at TIMESTAMPTZ, event_at TIMESTAMPTZ, topic VARCHAR,
            payload VARCHAR, payload_raw BLOB, retain BOOLEAN)""")
        for place, payload in enumerate(payloads):
            text = _text(payload)
            row = [place, topic, text, payload if text is None else None]
            connection.execute("INSERT INTO given VALUES (?, now(), NULL, ?, ?, ?, false)", row)
        rows = _rows(connection, typed, _COLUMNS[stream])
        listed = {place for (place,) in connection.execute(f"SELECT number FROM ({typed.rejects_sql('given')})").fetchall()}
    return [_Recorded(rows.get(place), place in listed) for place in range(len(payloads))]


def _rows(connection: duckdb.DuckDBPyConnection, typed: TypedStream, columns: tuple[str, ...]) -> dict[int, tuple[Any, ...]]:
    sql = f"SELECT number, {', '.join(columns)} FROM ({typed.rows_sql('given')})"
    return {place: tuple(values) for place, *values in connection.execute(sql).fetchall()}


def _text(payload: bytes) -> str | None:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None


@st.composite
def _json(draw: st.DrawFn, names: Sequence[str], levels: int = 2) -> str:
    """Generate JSON, or nearly JSON, that has the stream's own names more often than others."""
    kind = draw(st.sampled_from(["scalar", "scalar", "object", "array"])) if levels < 2 else "object"
    if levels == 0 or kind == "scalar":
        return draw(_SCALARS)
    space = draw(_SPACES)
    if kind == "array":
        parts = draw(st.lists(_json(names, levels - 1), max_size=3))
        return f"[{f',{space}'.join(parts)}{draw(st.sampled_from(['', '', '', ',']))}]"
    chosen = draw(st.lists(st.sampled_from([*names, *names, "", "other"]), max_size=8))
    members = [f"{_name(draw, name)}{space}:{draw(_json(names, levels - 1))}" for name in chosen]
    return f"{{{space}{f',{space}'.join(members)}{draw(st.sampled_from(['', '', '', '', ',']))}{space}}}"


def _name(draw: st.DrawFn, name: str) -> str:
    if name and draw(st.integers(0, 9)) == 0:
        return f'"\\u{ord(name[0]):04x}{name[1:]}"'
    return f'"{name}"'


@st.composite
def _payloads(draw: st.DrawFn, stream: AnyStream) -> bytes:
    """Generate a payload: any JSON, or a valid payload with a member added, replaced or repeated."""
    if draw(st.booleans()):
        text = draw(_json(_FIELDS[stream]))
    else:
        text = _VALID[stream]
        name = draw(st.sampled_from([*_FIELDS[stream], "other"]))
        member = f"{_name(draw, name)}:{draw(_json(_FIELDS[stream], draw(st.sampled_from([0, 0, 1]))))}"
        change = draw(st.sampled_from(["none", "first", "last", "inner", "replaced"]))
        if change == "first":
            text = "{" + member + "," + text[1:]
        elif change == "last":
            text = text[:-1] + "," + member + "}"
        elif change == "inner":
            head, brace, tail = text.rpartition("{")
            text = head + brace + member + "," + tail
        elif change == "replaced":
            decoded = json.loads(text)
            decoded.pop(name, None)
            rest = json.dumps(decoded, separators=draw(st.sampled_from([(",", ":"), (", ", ": ")])))
            text = rest[:-1] + ("," if decoded else "") + member + "}"
    payload = (draw(_BEFORE) + text + draw(_AFTER)).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 19)) == 0:
        at = draw(st.integers(0, len(payload)))
        payload = payload[:at] + draw(st.sampled_from([b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b""])) + payload[at + 1 :]
    return payload


def _compare(stream: AnyStream, payloads: Sequence[bytes]) -> None:
    for payload, recorded in zip(payloads, _recorded(stream, payloads), strict=True):
        taken = _taken(stream, payload)
        if taken is None:
            assert recorded.listed or recorded.row is None, (payload, recorded)
            # a row of what can be read stays, but has nothing that was wrong
            assert recorded.row is None or _is_json(payload), (payload, recorded)
        else:
            assert recorded.row is not None, (payload, taken, recorded)
            assert list(map(_comparable, recorded.row)) == list(map(_comparable, taken)), (payload, taken, recorded)


def _is_json(payload: bytes) -> bool:
    try:
        decode_json(payload)
    except Rejected:
        return False
    return True


def _comparable(value: Any) -> Any:
    return (value, math.copysign(1, value)) if isinstance(value, float) else (value, 1 if value == 0 else None)


@pytest.mark.parametrize("stream", _FIELDS, ids=lambda stream: str(stream.template.text))
@settings(max_examples=25)
@given(data=st.data())
def test_component_and_table_take_the_same(stream: AnyStream, data: st.DataObject) -> None:
    _compare(stream, data.draw(st.lists(_payloads(stream), min_size=1, max_size=40)))


@pytest.mark.parametrize("stream", _FIELDS, ids=lambda stream: str(stream.template.text))
def test_every_value_in_every_field_is_taken_the_same(stream: AnyStream) -> None:
    values = [
        *_STRINGS,
        *_NUMBERS,
        "true",
        "false",
        "null",
        "[]",
        "{}",
        "[1]",
        '[{"a":1,"a":2}]',
        '{"a":1}',
        '{"soc":1,"soc":1}',
    ]
    _compare(
        stream, [each for name in [*_FIELDS[stream], "other"] for value in values for each in _placed(stream, name, value)]
    )


def _placed(stream: AnyStream, name: str, value: str) -> list[bytes]:
    """Return the valid payload with a value in place of a field, and before, after and in addition to it."""
    valid, member = _VALID[stream], f'"{name}":{value}'
    head, brace, tail = valid.rpartition("{")
    places = ["{" + member + "," + valid[1:], valid[:-1] + "," + member + "}", head + brace + member + "," + tail]
    for separators in ((",", ":"), (", ", ": ")):
        decoded = json.loads(valid)
        (decoded["data"] if name in ("soc", "status") and "data" in decoded else decoded)[name] = "HERE"
        places.append(json.dumps(decoded, separators=separators).replace('"HERE"', value))
    return [each.encode("utf-8", "surrogatepass") for each in dict.fromkeys(places)]


@pytest.mark.parametrize("stream", _FIELDS, ids=lambda stream: str(stream.template.text))
def test_nesting_is_limited_alike(stream: AnyStream) -> None:
    nested = [
        f'{_VALID[stream][:-1]},"x":{opened * levels}{inner}{closed * levels}}}'
        for levels in (*range(DEEPEST - 3, DEEPEST + 3), 1_023, 1_025, 5_000)
        for opened, inner, closed in [("[", "", "]"), ('{"y":', "1", "}"), ('[{"y":', "1", "}]"), ("[[],", "1", "]")]
    ]
    _compare(stream, [each.encode() for each in nested])
