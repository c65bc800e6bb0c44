"""Points in time as people type them."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.client.times import parse_duration, parse_instant

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("500ms", 0.5),
        ("90s", 90),
        ("15m", 900),
        ("15min", 900),
        ("1h", 3600),
        ("1.5h", 5400),
        ("2d", 172_800),
        ("1w", 604_800),
        ("1h30m", 5400),
        ("2d 12h", 216_000),
        ("1H", 3600),
        (" 1h ", 3600),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "1", "h", "1x", "-1h", "1h-", "h1", "1 hour", "today", "1h 2", "99999999999999d"])
def test_text_that_is_no_duration(text: str) -> None:
    assert parse_duration(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1h", NOW - timedelta(hours=1)),
        ("now", NOW),
        ("2026-01-30T08:00:00Z", datetime(2026, 1, 30, 8, tzinfo=UTC)),
        ("2026-01-30T08:00:00+02:00", datetime(2026, 1, 30, 6, tzinfo=UTC)),
        ("2026-01-30 08:00Z", datetime(2026, 1, 30, 8, tzinfo=UTC)),
    ],
)
def test_instants(text: str, expected: datetime) -> None:
    assert parse_instant(text, NOW) == expected


def test_words_and_dates_are_local() -> None:
    midnight = NOW.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    assert parse_instant("today", NOW) == midnight
    assert parse_instant("yesterday", NOW) == (midnight.replace(tzinfo=None) - timedelta(days=1)).astimezone()
    assert parse_instant("2026-01-30", NOW) == datetime(2026, 1, 30).astimezone()


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "25:00", "9999999d", "1h ago"])
def test_refusals_name_what_is_accepted_or_why(text: str) -> None:
    with pytest.raises(ValueError, match=r"give a time ago|before year 1"):
        parse_instant(text, NOW)


@given(st.text(max_size=20))
def test_parsing_never_crashes(text: str) -> None:
    with suppress(ValueError, OverflowError):
        assert parse_instant(text, NOW).tzinfo is UTC
