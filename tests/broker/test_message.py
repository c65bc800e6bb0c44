import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.contract.heating.topics import READING, Setpoint, TemperatureReading
from broker.errors import Rejected
from broker.message import DEEPEST, Message, decode, decode_json, encode

GOOD = b'{"sensorID":"sensor-1","type":"temperature","value":25.3}'


def test_decodes_the_specified_payload() -> None:
    assert decode(GOOD, TemperatureReading) == TemperatureReading("sensor-1", "temperature", 25.3)


def test_encodes_exactly_the_specified_payload() -> None:
    assert encode(TemperatureReading("sensor-1", "temperature", 25.3)) == GOOD


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty payload"),
        (b"x", "not JSON"),
        (b'{"celsius":NaN}', "not JSON"),
        (b'{"celsius":Infinity}', "not JSON"),
        (b'{"celsius":"\xff"}', "not JSON"),
        (b"\xff\xfe", "not JSON: it is UTF-16"),
        (b"{\x00}\x00", "not JSON: it is UTF-16"),
        (b"\x00\x00\x00{", "not JSON: it is UTF-16"),
        (b"\xef\xbb\xbf{}", "not JSON: it begins with a byte order mark"),
        (b"[" * 100_000, "not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "not JSON"),
        (b"[1]", "wrong shape"),
        (b"null", "wrong shape"),
        (b"22", "wrong shape"),
        (b"{}", "wrong shape"),
        (b'{"celsius":"22"}', "wrong shape"),
        (b'{"celsius":true}', "wrong shape"),
        (b'{"celsius":null}', "wrong shape"),
    ],
)
def test_an_error_names_the_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        decode(payload, Setpoint)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_decoded_or_rejected(payload: bytes) -> None:
    try:
        decode_json(payload)
        decode(payload, TemperatureReading)
    except Rejected:
        pass


def test_a_megabyte_is_decoded_or_rejected() -> None:
    with pytest.raises(Rejected):
        decode(b"x" * 1_000_000, Setpoint)
    assert decode(b'{"celsius":22,"note":"' + b"x" * 1_000_000 + b'"}', Setpoint) == Setpoint(22.0)


def test_a_stream_builds_its_publications() -> None:
    publication = READING.publication(TemperatureReading("sensor-1", "temperature", 25.3), room="room-1")
    assert publication.topic == "/readings/room-1/temperature"
    assert publication.payload == GOOD
    assert (publication.qos, publication.retain, publication.plant) == (1, False, True)
    assert READING.decode(Message(topic=publication.topic, payload=publication.payload)).value == 25.3


def test_payload_shapes_refuse_an_empty_object_or_default() -> None:
    from broker.contract import streams

    for stream in streams():  # some payloads are lists
        with pytest.raises(Rejected):
            decode(b"{}", stream.payload)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"a":1,"a":1}',
        b'{"a" :1,"a":2}',
        b'{"a":1,"\\u0061":2}',
        b'{"x":[{"a":"\\"","b":":","a":2}]}',
        b'{"":"\\\\","":"\\\\"}',
        b'[{"a":"","a":""}]',
    ],
)
def test_name_that_occurs_twice_is_rejected(payload: bytes) -> None:
    with pytest.raises(Rejected, match="occurs twice in an object"):
        decode_json(payload)


@pytest.mark.parametrize(
    "value", [{"a": {"a": [{"a": 1}, {"a": 2}]}}, {'"': '"', '\\"': "\\"}, {"a": ":"}, {"a\u0000": 1, "a": 2}, [], 5, "x", {}]
)
@pytest.mark.parametrize("indent", [None, 1])
def test_names_that_occur_once_are_no_fault(value: object, indent: int | None) -> None:
    assert decode_json(json.dumps(value, indent=indent).encode()) == value


def test_nesting_is_limited() -> None:
    assert decode_json(b"[" * DEEPEST + b"]" * DEEPEST)
    with pytest.raises(Rejected, match="nested more than 254 levels deep"):
        decode_json(b'{"a":' + b"[" * DEEPEST + b"]" * DEEPEST + b"}")


def test_whole_float_is_a_whole_number() -> None:
    assert decode(b"[14.0,-0.0,1e2]", tuple[int, int, int]) == (14, 0, 100)
    with pytest.raises(Rejected, match="wrong shape"):
        decode(b"14.5", int)
