"""Arrow columns as Python values; infinite or far dates and nanoseconds, for which Python has no type, become text."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAYS_OF_400_YEARS = 146_097
_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_INFINITE = {2**31 - 1, 2**63 - 1}
"""DuckDB's `infinity` in a DATE and in a TIMESTAMP; `-infinity` is the same with a minus."""
_UTC_INSTANT = pa.timestamp("us", "UTC")


def python_values(column: "pa.Array[Any] | pa.ChunkedArray[Any]") -> list[Any]:
    """Return a column as a list; dates and times that Python cannot hold are text, at any depth."""
    if column.null_count == len(column):
        return [None] * len(column)
    if "[ns" in str(column.type):  # PyArrow would convert these through pandas where it is installed
        return [_value(each) for each in column]
    try:
        return _utc_instants(column) if column.type == _UTC_INSTANT else list(column.to_pylist())
    except (OverflowError, ValueError):
        return [_value(each) for each in column]


def _utc_instants(column: "pa.Array[Any] | pa.ChunkedArray[Any]") -> list[datetime | None]:
    """Return instants as `to_pylist` does, several times as fast."""
    ticks = column.cast(pa.int64()).to_pylist()
    return [None if each is None else _EPOCH + timedelta(microseconds=each) for each in ticks]


def date_text(days: int) -> str:
    """Write days since 1970 as DuckDB does, for any year: calendars repeat after 400."""
    if infinite := _infinity(days):
        return infinite
    cycles, rest = divmod(days, _DAYS_OF_400_YEARS)
    near = date(1970, 1, 1) + timedelta(rest)
    year = near.year + 400 * cycles
    return f"{year:04}-{near:%m-%d}" if year > 0 else f"{1 - year:04}-{near:%m-%d} (BC)"


def has_common_year(ticks: int, unit: str) -> bool:
    """Return whether a time since 1970 lies in the years 1 to 9999, the range of most libraries."""
    per_second: int = 10 ** _DIGITS[unit]
    return -62_135_596_800 <= ticks // per_second < 253_402_300_800


def instant_text(ticks: int, unit: str, zone: str = "", separator: str = " ") -> str:
    """Write a time since 1970 in `s`, `ms`, `us` or `ns`, for any year, followed by `zone`."""
    if infinite := _infinity(ticks):
        return infinite
    digits = _DIGITS[unit]
    seconds, fraction = divmod(ticks, 10**digits)
    days, second = divmod(seconds, 86_400)
    clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    parts = f".{fraction:0{digits}}" if fraction else ""
    day, _, era = date_text(days).partition(" ")
    return f"{day}{separator}{clock}{parts}{zone}" + (f" {era}" if era else "")


def _infinity(value: int) -> str | None:
    if abs(value) not in _INFINITE:
        return None
    return "infinity" if value > 0 else "-infinity"


def _value(scalar: Any) -> Any:
    if not scalar.is_valid:
        return None
    if pa.types.is_map(scalar.type):
        return [(_value(each["key"]), _value(each["value"])) for each in scalar.values]
    if pa.types.is_struct(scalar.type):
        return {name: _value(each) for name, each in scalar.items()}
    if hasattr(scalar, "values"):  # every kind of list
        return [_value(each) for each in scalar.values]
    if (coarser := _without_nanoseconds(scalar.type)) is not None:
        if scalar.value % 1_000:
            return _text(scalar)
        scalar = scalar.cast(coarser)
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):
        return _text(scalar)


def _without_nanoseconds(kind: Any) -> Any:
    """Return the type in microseconds of one in nanoseconds, None for any other."""
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    if pa.types.is_time64(kind) and kind.unit == "ns":
        return pa.time64("us")
    if pa.types.is_duration(kind) and kind.unit == "ns":
        return pa.duration("us")
    return None


def _text(scalar: Any) -> Any:
    kind = scalar.type
    if pa.types.is_date32(kind):
        return date_text(scalar.value)
    if pa.types.is_timestamp(kind):
        return instant_text(scalar.value, kind.unit, "Z" if kind.tz else "")
    return scalar.cast(pa.string()).as_py()
