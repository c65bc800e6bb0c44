from datetime import UTC, datetime

import pytest

from broker.stamp import NO_STAMP, Stamp, read_stamp

AT = datetime(2026, 1, 31, 8, 0, 0, 123456, tzinfo=UTC)


def test_a_stamp_survives_the_round_trip() -> None:
    stamp = Stamp("heating", "b007", 12, AT)
    assert stamp.user_properties() == (
        ("source", "heating"),
        ("boot", "b007"),
        ("seq", "12"),
        ("plant-time", "2026-01-31T08:00:00.123456Z"),
    )
    assert read_stamp(stamp.user_properties()) == stamp


def test_no_properties_are_no_stamp() -> None:
    assert NO_STAMP.user_properties() == ()
    assert read_stamp(()) is NO_STAMP


@pytest.mark.parametrize("seq", ["", "-1", "1.5", "x", "١", "9" * 19])
def test_foreign_sequence_numbers_are_ignored(seq: str) -> None:
    assert read_stamp((("seq", seq),)).seq is None


@pytest.mark.parametrize("time", ["", "x", "2026-01-31T08:00:00", "99999-01-01T00:00:00Z"])
def test_invalid_plant_times_are_ignored(time: str) -> None:
    assert read_stamp((("plant-time", time),)).plant_at is None
