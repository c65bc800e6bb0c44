"""Sparkplug B payloads: metrics out of bytes, and the one command that a host sends.

Source: Eclipse Sparkplug 3.0, chapter 6 (payloads), with the field numbers of its Google Protocol Buffers schema. Metrics that
are data sets, templates, files or arrays keep their bytes: they are no values for a reading.
"""

import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from adapters.devices.sparkplug.wire import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    Malformed,
    Value,
    bytes_field,
    fields,
    float_of,
    varint_field,
)

REBIRTH = "Node Control/Rebirth"
BD_SEQ = "bdSeq"
LARGEST_BYTES = 16 * 1024 * 1024
"""Of a compressed payload, once it is decompressed."""
_COMPRESSED = "SPBV1.0_COMPRESSED"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DataType(IntEnum):
    """Data types whose values are numbers, texts or flags (section 6.4.16)."""

    INT8, INT16, INT32, INT64 = 1, 2, 3, 4
    UINT8, UINT16, UINT32, UINT64 = 5, 6, 7, 8
    FLOAT, DOUBLE, BOOLEAN, STRING = 9, 10, 11, 12
    DATETIME, TEXT, UUID = 13, 14, 15


_BITS = {DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32, DataType.INT64: 64}
_UNSIGNED_BITS = {DataType.UINT8: 8, DataType.UINT16: 16, DataType.UINT32: 32, DataType.UINT64: 64}
_INT, _LONG, _FLOAT, _DOUBLE, _BOOLEAN, _STRING, _LAST = 10, 11, 12, 13, 14, 15, 19
"""Field numbers of a metric's value; up to `_LAST` those of other types follow."""
_WIRE_TYPES = {_INT: VARINT, _LONG: VARINT, _FLOAT: FIXED32, _DOUBLE: FIXED64, _BOOLEAN: VARINT}


@dataclass(frozen=True, slots=True)
class Unusable:
    """Stands for a value that does not fit the data type of its metric; the others of the message are used."""

    reason: str


MetricValue = bool | int | float | str | bytes | Unusable | None


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as sent: by name or by alias, and in data often without its data type, which the birth has.

    `raw` is field number and content of its value, None where it is null.
    """

    name: str | None
    alias: int | None
    time_ms: int | None
    datatype: int | None
    is_historical: bool
    raw: tuple[int, Value] | None

    def value(self, datatype: int | None) -> MetricValue:
        """Return the value, of the metric's own data type or else of the given one."""
        if self.raw is None:
            return None
        number, content = self.raw
        try:
            return _value(number, content, self.datatype or datatype)
        except Malformed as error:
            return Unusable(str(error))


@dataclass(frozen=True, slots=True)
class Payload:
    """The content of a message; `seq` is None where it has none, as in a death."""

    time_ms: int | None
    seq: int | None
    metrics: tuple[Metric, ...]

    def metric(self, name: str) -> Metric | None:
        """Return the first metric of that name."""
        return next((each for each in self.metrics if each.name == name), None)


def read_payload(data: bytes) -> Payload:
    """Read a payload, compressed or not.

    Raises:
        Malformed: it is none.
    """
    payload, uuid, body = _read(data)
    if uuid != _COMPRESSED:
        return payload
    return _read(_decompressed(body))[0]


def rebirth_request(at: datetime) -> bytes:
    """Return the payload of `NCMD` that asks an edge node to publish its births again (section 6.4.19)."""
    time_ms = (at - _EPOCH) // timedelta(milliseconds=1)
    metric = bytes_field(1, REBIRTH.encode()) + varint_field(3, time_ms) + varint_field(4, DataType.BOOLEAN)
    return varint_field(1, time_ms) + bytes_field(2, metric + varint_field(_BOOLEAN, 1))


def instant(time_ms: int | None) -> datetime | None:
    """Return the instant of a time in milliseconds since 1970; None without one, or beyond the year 9999."""
    try:
        return None if time_ms is None else _EPOCH + timedelta(milliseconds=time_ms)
    except OverflowError:
        return None


def _read(data: bytes) -> tuple[Payload, str, bytes]:
    time_ms = seq = None
    metrics, uuid, body = [], "", b""
    for number, wire_type, value in fields(data):
        match number:
            case 1:
                time_ms = _whole(wire_type, value)
            case 2:
                metrics.append(_metric(_content(wire_type, value)))
            case 3:
                seq = _whole(wire_type, value)
            case 4:
                uuid = _text(_content(wire_type, value))
            case 5:
                body = _content(wire_type, value)
    return Payload(time_ms, seq, tuple(metrics)), uuid, body


def _metric(data: bytes) -> Metric:
    name: str | None = None
    whole: dict[int, int] = {}
    raw: tuple[int, Value] | None = None
    for number, wire_type, value in fields(data):
        if number == 1:
            name = _text(_content(wire_type, value))
        elif number < 8:
            whole[number] = _whole(wire_type, value)
        elif _INT <= number <= _LAST:
            if wire_type != _WIRE_TYPES.get(number, BYTES):
                raise Malformed(f"a value with the wire type {wire_type}")
            raw = number, value
    is_null = bool(whole.get(7))
    return Metric(name, whole.get(2), whole.get(3), whole.get(4), bool(whole.get(5)), None if is_null else raw)


def _value(number: int, content: Value, datatype: int | None) -> MetricValue:
    if number in (_FLOAT, _DOUBLE):
        return float_of(content)
    if number == _STRING:
        assert isinstance(content, bytes)
        return _text(content)
    if number > _STRING:
        assert isinstance(content, bytes)
        return content
    assert isinstance(content, int)
    if number == _BOOLEAN or datatype == DataType.BOOLEAN:
        return bool(content)
    return _integer(content & 0xFFFF_FFFF if number == _INT else content, 32 if number == _INT else 64, datatype)


def _integer(content: int, sent_bits: int, datatype: int | None) -> int:
    """Return a whole number: a signed one is sent as its two's complement, in its own bits or in those of the field."""
    signed, unsigned = _BITS.get(datatype), _UNSIGNED_BITS.get(datatype)  # type: ignore[call-overload]
    if signed is not None:
        sent = content - (1 << sent_bits) if content >> (sent_bits - 1) else content
        value = content - (1 << signed) if content >> (signed - 1) == 1 else sent
        if -(1 << (signed - 1)) <= value < 1 << (signed - 1):
            return value
        raise Malformed(f"{content} is no whole number of {signed} bits")
    if unsigned is not None and content >> unsigned:
        raise Malformed(f"{content} is no whole number of {unsigned} bits")
    return content


def _whole(wire_type: int, value: Value) -> int:
    if wire_type != VARINT or not isinstance(value, int):
        raise Malformed("a number is expected")
    return value


def _content(wire_type: int, value: Value) -> bytes:
    if wire_type != BYTES or not isinstance(value, bytes):
        raise Malformed("a text or a message is expected")
    return value


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Malformed("a text is not UTF-8") from None


def _decompressed(body: bytes) -> bytes:
    for bits in (47, -15):  # with a header of GZIP or DEFLATE, and without one
        decompressor = zlib.decompressobj(bits)
        try:
            data = decompressor.decompress(body, LARGEST_BYTES)
        except zlib.error:
            continue
        if decompressor.unconsumed_tail:
            raise Malformed(f"it is larger than {LARGEST_BYTES} bytes when decompressed")
        if decompressor.eof:
            return data
    raise Malformed("its body cannot be decompressed")
