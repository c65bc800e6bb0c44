"""Points in time as people type them: `1h`, `2d12h`, `today`, `2026-01-31`, `2026-01-31T08:00:00Z`."""

import re
from datetime import UTC, datetime, time, timedelta

_UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PART = r"(\d+(?:\.\d+)?)\s*(ms|min|s|m|h|d|w)"
_DURATION = re.compile(rf"(?:{_PART}\s*)+")
ACCEPTED = "a time ago (30s, 15m, 1h, 2d, 1w, 1h30m), today, yesterday, now, or an ISO 8601 date or time"


def parse_duration(text: str) -> timedelta | None:
    """Read a duration such as `90s`, `1h30m` or `2 d`; None where it is none."""
    cleaned = text.strip().lower()
    if not _DURATION.fullmatch(cleaned):
        return None
    try:
        return timedelta(seconds=sum(float(number) * _UNITS_S[unit] for number, unit in re.findall(_PART, cleaned)))
    except OverflowError:
        return None


def parse_instant(text: str, now_at: datetime) -> datetime:
    """Read a point in time, in UTC. A duration counts back from `now_at`; dates and times without offset are local.

    Raises:
        ValueError: it is none of the accepted forms, which the text lists, or before year 1.
    """
    cleaned = text.strip()
    if (duration := parse_duration(cleaned)) is not None:
        try:
            return now_at - duration
        except OverflowError:
            raise ValueError(f"{text!r} is before year 1") from None
    midnight_at = datetime.combine(now_at.astimezone().date(), time())
    words = {"now": now_at, "today": midnight_at, "yesterday": midnight_at - timedelta(days=1)}
    instant = words.get(cleaned.lower()) or _iso(cleaned)
    if instant is None:
        raise ValueError(f"{text!r} is not a time: give {ACCEPTED}")
    return instant.astimezone(UTC)


def _iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
