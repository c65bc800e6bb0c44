import gzip
import math
import zlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.devices.sparkplug.payload import LARGEST_BYTES, Unusable, read_payload, rebirth_request
from adapters.devices.sparkplug.wire import Malformed
from tests.adapters.devices.sparkplug.encode import BOOLEAN, FLOAT, INT8, field, metric, payload, varint

VALID = payload(
    metric("Temp/Oil 1", 61.5, alias=3, time_ms=1_700_000_000_000),
    metric("Drive.Fan", 12.25, FLOAT),
    metric(None, -3, INT8, alias=4, typed=False),
    metric("Down", None),
    metric("Text", "Öl", 12),
    metric("On", True, BOOLEAN),
    seq=7,
    time_ms=1_700_000_000_001,
)


def test_a_payload_is_read() -> None:
    read = read_payload(VALID)
    assert (read.seq, read.time_ms) == (7, 1_700_000_000_001)
    assert [(each.name, each.alias) for each in read.metrics[:3]] == [("Temp/Oil 1", 3), ("Drive.Fan", None), (None, 4)]
    assert [each.value(INT8) for each in read.metrics] == [61.5, 12.25, -3, None, "Öl", True]
    assert read.metrics[0].time_ms == 1_700_000_000_000


@pytest.mark.parametrize(
    ("datatype", "number", "raw", "value"),
    [
        (1, 10, 0xFFFF_FF80, -128),
        (1, 10, 0x80, -128),
        (1, 10, 127, 127),
        (2, 10, 0xFFFF_FFFF, -1),
        (2, 10, 0x8000, -32768),
        (3, 10, 0xFFFF_FFFF, -1),
        (3, 10, 0xFFFF_FFFF_FFFF_FFFF, -1),
        (4, 11, 0xFFFF_FFFF_FFFF_FFFF, -1),
        (4, 11, 5, 5),
        (5, 10, 255, 255),
        (7, 10, 0xFFFF_FFFF, 0xFFFF_FFFF),
        (8, 11, 0xFFFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF),
        (13, 11, 1_700_000_000_000, 1_700_000_000_000),
        (11, 14, 1, True),
    ],
)
def test_whole_numbers(datatype: int, number: int, raw: int, value: Any) -> None:
    one = field(1, "m") + field(4, datatype) + field(number, raw)
    assert read_payload(field(2, one)).metrics[0].value(None) == value


@pytest.mark.parametrize(("datatype", "raw"), [(1, 0x100), (1, 0x7FFF_FFFF), (5, 256), (6, 65_536)])
def test_numbers_beyond_their_type_are_unusable(datatype: int, raw: int) -> None:
    one = field(1, "m") + field(4, datatype) + field(10, raw)
    assert isinstance(read_payload(field(2, one)).metrics[0].value(None), Unusable)


def test_what_is_no_value_keeps_its_bytes() -> None:
    data_set = field(1, "m") + field(4, 16) + field(17, b"anything")
    assert read_payload(field(2, data_set)).metrics[0].value(None) == b"anything"


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress, lambda data: zlib.compress(data, wbits=-15)])
def test_compressed_payloads(pack: Any) -> None:
    compressed = field(4, "SPBV1.0_COMPRESSED") + field(5, pack(VALID))
    assert read_payload(compressed) == read_payload(VALID)


@pytest.mark.parametrize("body", [b"", b"nothing", zlib.compress(bytes(LARGEST_BYTES + 1))[:-1], zlib.compress(VALID)[:-9]])
def test_what_does_not_decompress_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        read_payload(field(4, "SPBV1.0_COMPRESSED") + field(5, body))


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        b"\x0b",
        b"\x08",
        b"\x08" + b"\xff" * 10,
        b"\x12\x05abc",
        b"\x12" + varint(2**63),
        b"\x0d\x00",
        field(2, field(1, b"\xff")),
        field(2, field(12, 5)),
        field(3, b"1"),
        field(2, 5),
        b'{"value":1}',
    ],
)
def test_other_bytes_are_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        read_payload(data)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.tuples(st.integers(0, len(VALID)), st.binary(max_size=8), st.integers(0, 8))))
def test_any_bytes_are_read_or_malformed(drawn: Any) -> None:
    data = drawn if isinstance(drawn, bytes) else VALID[: drawn[0]] + drawn[1] + VALID[drawn[0] + drawn[2] :]
    try:
        read = read_payload(data)
    except Malformed:
        return
    for each in read.metrics:
        value = each.value(INT8)
        assert value is None or isinstance(value, (bool, int, float, str, bytes, Unusable))


@given(st.sampled_from([1, 2, 3, 4]), st.integers(-(2**63), 2**63 - 1))
def test_signed_numbers_survive(datatype: int, number: int) -> None:
    bits = {1: 8, 2: 16, 3: 32, 4: 64}[datatype]
    number %= 2 ** (bits - 1)
    for each in (number, -number - 1):
        assert read_payload(payload(metric("m", each, datatype))).metrics[0].value(None) == each


@given(st.floats(allow_nan=False))
def test_doubles_survive(number: float) -> None:
    value = read_payload(payload(metric("m", number))).metrics[0].value(None)
    assert isinstance(value, float)
    assert math.isclose(value, number, rel_tol=0) or value == number


def test_a_rebirth_request() -> None:
    at = datetime(2026, 12, 1, tzinfo=UTC)
    read = read_payload(rebirth_request(at))
    assert read.time_ms == 1_796_083_200_000
    assert read.seq is None
    assert [(each.name, each.datatype, each.value(None)) for each in read.metrics] == [("Node Control/Rebirth", 11, True)]
