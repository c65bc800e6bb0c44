"""The time that a device gives its reading: RFC 3339, or seconds or milliseconds since 1970. Pure."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from adapters.devices.values import Malformed, as_number, shown

MILLISECONDS_ABOVE = 1e11
"""A number above it is in milliseconds: as seconds it would be after the year 5138."""
MOST_AHEAD = timedelta(days=1)
"""A device time further ahead of wall time is an error of its clock."""

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_time(value: Any, now_at: datetime) -> datetime:
    """Return the instant that a device's time is, in UTC.

    Raises:
        Malformed: it is none, is before 1970, or more than a day after `now_at`.
    """
    at = _from_text(value) if type(value) is str else _from_number(value)
    if at < _EPOCH:
        raise Malformed(f"the time {shown(value)} is before 1970")
    if at > now_at + MOST_AHEAD:
        raise Malformed(f"the time {shown(value)} is more than a day ahead")
    return at


def _from_text(text: str) -> datetime:
    if not _RFC3339.fullmatch(text):
        raise Malformed(f"{shown(text)} is no time: RFC 3339 with an offset, or a number since 1970")
    whole, dot, rest = text.partition(".")
    if dot:  # Python reads six digits at most
        digits = re.match(r"\d+", rest)[0]  # type: ignore[index]
        text = f"{whole}.{digits[:6].ljust(6, '0')}{rest[len(digits) :]}"
    try:
        return datetime.fromisoformat(text.upper().replace(" ", "T")).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Malformed(f"{shown(text)} is no time") from None


def _from_number(value: Any) -> datetime:
    try:
        number = as_number(value)
        return _EPOCH + timedelta(milliseconds=number) if number > MILLISECONDS_ABOVE else _EPOCH + timedelta(seconds=number)
    except (Malformed, OverflowError):
        raise Malformed(f"{shown(value)} is no time: RFC 3339 with an offset, or a number since 1970") from None
