"""Rows as CSV, the same from the command line and from the web page."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from adapters.client.rows import Chunk, Row

_json = msgspec.json.Encoder(decimal_format="number", enc_hook=str)
_CSV_NATIVE = {str, int, float, type(None)}
"""Types that Python's CSV writer writes as `as_csv` would."""


def as_json(value: Any) -> bytes:
    """Encode any value of a result: bytes as base64, NaN and infinity as null, instants as RFC 3339."""
    return _json.encode(value)


def as_csv(value: Any) -> Any:
    """Return a value for the CSV writer: full precision, instants as RFC 3339, bytes as base64, nothing for null."""
    if value is None or (isinstance(value, (str, int, float)) and not isinstance(value, bool)):
        return value
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    text = as_json(value).decode()
    return json.loads(text) if text.startswith('"') else text


def csv_line(row: Row) -> bytes:
    """Return one row of CSV (RFC 4180, but lines end with a line feed only)."""
    return _csv([[as_csv(value) for value in row]])


def csv_lines(chunk: Chunk) -> bytes:
    """Return several rows, given as columns."""
    return _csv(zip(*map(_csv_values, chunk), strict=True))


def _csv_values(column: Sequence[Any]) -> Sequence[Any]:
    return column if set(map(type, column)) <= _CSV_NATIVE else [as_csv(value) for value in column]


def _csv(rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")
