"""Values as text, for tables."""

from datetime import UTC, date, datetime, time
from typing import Any

from adapters.client.texts import as_json

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_CONTROL |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}


def as_cell(value: Any) -> str:
    """Return a short text for one cell of a table, on one line and without control characters."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return format(value, ".10g")
    if isinstance(value, datetime):
        return _instant(value)
    if isinstance(value, bytes):
        return value.hex(" ")
    if isinstance(value, (str, int, date, time)):
        return str(value).translate(_CONTROL)
    return as_json(value).decode().translate(_CONTROL)


def is_number(value: Any) -> bool:
    """Return whether a value is a number, which tables align to the right."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _instant(value: datetime) -> str:
    if value.tzinfo is None:
        return value.isoformat(sep=" ", timespec="milliseconds")
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
