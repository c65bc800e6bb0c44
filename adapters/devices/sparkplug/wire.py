"""The protobuf wire format, as far as Sparkplug needs it: fields of a message in and out.

Source: Protocol Buffers documentation, "Encoding".
"""

import struct
from collections.abc import Iterator
from typing import Final

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types. Groups (3 and 4) are not used by Sparkplug, and are malformed here."""
_MOST_SHIFT: Final = 63
_MASK64: Final = (1 << 64) - 1

Value = int | bytes
"""A number of a varint field, else the bytes of the field."""


class Malformed(ValueError):
    """Bytes that are not a Sparkplug payload."""


def fields(data: bytes) -> Iterator[tuple[int, int, Value]]:
    """Yield number, wire type and value of each field of a message.

    Raises:
        Malformed: it ends within a field, or a field is of an unknown wire type.
    """
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, wire_type = key >> 3, key & 7
        if not number:
            raise Malformed("a field with the number 0")
        if wire_type == VARINT:
            value, at = _varint(data, at)
            yield number, VARINT, value
            continue
        if wire_type == BYTES:
            size, at = _varint(data, at)
        elif wire_type in (FIXED32, FIXED64):
            size = 4 if wire_type == FIXED32 else 8
        else:
            raise Malformed(f"wire type {wire_type}")
        if at + size > end:
            raise Malformed("it ends within a field")
        yield number, wire_type, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    try:
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & _MASK64, at
            shift += 7
            if shift > _MOST_SHIFT:
                raise Malformed("a number of more than 64 bits")
    except IndexError:
        raise Malformed("it ends within a number") from None


def varint_field(number: int, value: int) -> bytes:
    """Encode a number below 2^64."""
    return _encoded(number << 3 | VARINT) + _encoded(value)


def bytes_field(number: int, value: bytes) -> bytes:
    """Encode a text, bytes or a message."""
    return _encoded(number << 3 | BYTES) + _encoded(len(value)) + value


def float_of(value: Value) -> float:
    """Return the number in a field of 4 or 8 bytes."""
    assert isinstance(value, bytes)
    return float(struct.unpack("<f" if len(value) == 4 else "<d", value)[0])


def _encoded(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
