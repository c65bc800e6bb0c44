"""Sparkplug payloads as an edge node encodes them: written from the schema, not with the code under test."""

import struct
from typing import Any

INT8, INT16, INT32, INT64, UINT8, FLOAT, DOUBLE, BOOLEAN, STRING, DATETIME = 1, 2, 3, 4, 5, 9, 10, 11, 12, 13


def varint(number: int) -> bytes:
    groups = []
    while True:
        groups.append(number % 128)
        number //= 128
        if not number:
            return bytes([each + 128 for each in groups[:-1]] + [groups[-1]])


def field(number: int, value: int | bytes | str | float) -> bytes:
    if isinstance(value, float):
        return varint(number * 8 + 1) + struct.pack("<d", value)
    if isinstance(value, int):
        return varint(number * 8) + varint(value)
    text = value.encode() if isinstance(value, str) else value
    return varint(number * 8 + 2) + varint(len(text)) + text


def value_field(datatype: int, value: Any) -> bytes:
    match datatype:
        case 9:
            return varint(12 * 8 + 5) + struct.pack("<f", value)
        case 10:
            return field(13, float(value))
        case 11:
            return field(14, int(value))
        case 12 | 14 | 15:
            return field(15, value)
        case 4 | 8 | 13:
            return field(11, value % 2**64)
        case _:
            return field(10, value % 2**32)


def metric(
    name: str | None = None,
    value: Any = None,
    datatype: int = DOUBLE,
    *,
    alias: int | None = None,
    time_ms: int | None = None,
    historical: bool = False,
    typed: bool = True,
) -> bytes:
    parts = [field(1, name)] if name is not None else []
    parts += [field(2, alias)] if alias is not None else []
    parts += [field(3, time_ms)] if time_ms is not None else []
    parts += [field(4, datatype)] if typed else []
    parts += [field(5, 1)] if historical else []
    parts.append(field(7, 1) if value is None else value_field(datatype, value))
    return b"".join(parts)


def payload(*metrics: bytes, seq: int | None = None, time_ms: int | None = None) -> bytes:
    parts = [field(1, time_ms)] if time_ms is not None else []
    parts += [field(2, each) for each in metrics]
    parts += [field(3, seq)] if seq is not None else []
    return b"".join(parts)


def birth(*metrics: bytes, bd_seq: int = 0, seq: int = 0, time_ms: int | None = None) -> bytes:
    return payload(metric("bdSeq", bd_seq, INT64), *metrics, seq=seq, time_ms=time_ms)
