import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.heating.fusion import Fused, Fusion, robust_centre
from controllers.heating.sensor import MOST_SENSORS, Reason

OFFSETS_C = {"a": 0.3, "b": -0.2, "c": 0.1, "d": -0.1, "e": 0.0}


class Feed:
    """Feeds a fusion once a minute with a room temperature, with offsets and a little noise."""

    def __init__(self) -> None:
        self.fusion, self.minute = Fusion(), 0

    def minutes(self, count: int, room_c: float, instead: dict[str, float | None] | None = None, digits: int = 2) -> Fused:
        """Feed; `instead` replaces a sensor's reading, None silences it."""
        for _ in range(count):
            self.minute += 1
            for index, (name, offset_c) in enumerate(OFFSETS_C.items()):
                noise_c = 0.05 * math.sin(7.3 * self.minute + index) if digits > 1 else 0.0
                value_c = round(room_c + offset_c + noise_c, digits)
                read_c = instead[name] if instead and name in instead else value_c
                if read_c is not None:
                    self.fusion.read(name, read_c, self.minute * 60.0)
            fused = self.fusion.fuse(self.minute * 60.0)
        return fused


def test_all_sensors_are_used() -> None:
    fused = Feed().minutes(30, 22.0)
    assert fused.room_c == pytest.approx(22.0, abs=0.1)
    assert fused.used == tuple("abcde")
    assert fused.left_out == {}
    assert fused.proven


def test_no_sensor_no_temperature() -> None:
    assert Fusion().fuse(0.0).room_c is None


def test_all_silent_no_temperature() -> None:
    feed = Feed()
    feed.minutes(30, 22.0)
    fused = feed.minutes(6, 22.0, dict.fromkeys("abcde"))
    assert fused.room_c is None
    assert set(fused.left_out.values()) == {Reason.STALE}


def test_silent_sensors_do_not_move_the_room() -> None:
    feed = Feed()
    before = feed.minutes(120, 22.0)
    after = feed.minutes(60, 22.0, {"b": None, "d": None, "e": None})
    assert before.room_c is not None
    assert after.room_c == pytest.approx(before.room_c, abs=0.08)
    assert after.used == ("a", "c")


def test_a_new_sensor_does_not_move_the_room() -> None:
    feed = Feed()
    before = feed.minutes(60, 22.0, {"a": None})
    after = feed.minutes(2, 22.0)
    assert before.room_c is not None
    assert after.room_c == pytest.approx(before.room_c, abs=0.05)


def test_a_far_sensor_is_left_out_and_used_again() -> None:
    feed = Feed()
    feed.minutes(30, 22.0)
    fused = feed.minutes(10, 22.0, {"a": 24.0 + 0.01 * 1})
    assert fused.left_out["a"] in (Reason.FAR, Reason.STUCK)
    assert fused.room_c == pytest.approx(22.0, abs=0.1)
    assert feed.minutes(5, 22.0).left_out == {}


def test_a_slow_drift_hardly_moves_the_room() -> None:
    feed = Feed()
    feed.minutes(60, 22.0)
    for minute in range(240):
        fused = feed.minutes(1, 22.0, {"a": 22.3 + minute / 120})
    assert fused.left_out == {"a": Reason.FAR}
    assert fused.room_c == pytest.approx(22.0, abs=0.12)


def test_three_of_five_stuck_at_one_value_from_the_start() -> None:
    feed = Feed()
    for minute in range(60):
        fused = feed.minutes(1, 18 + minute / 30, dict.fromkeys("abc", 15.0))
    assert fused.used == ("d", "e")
    assert fused.room_c == pytest.approx(20.0, abs=0.2)


def test_three_of_five_freeze_where_they_are() -> None:
    feed = Feed()
    feed.minutes(60, 22.0)
    frozen = {name: round(22.0 + OFFSETS_C[name], 2) for name in "abc"}
    for minute in range(60):
        fused = feed.minutes(1, 22.0 - minute / 60, dict(frozen))
    assert {name: fused.left_out.get(name) for name in "abc"} == dict.fromkeys("abc", Reason.STUCK)
    assert fused.room_c == pytest.approx(21.0, abs=0.2)


@pytest.mark.parametrize("digits", [0, 1])
def test_coarse_sensors_in_a_quiet_room_stay_trusted(digits: int) -> None:
    feed = Feed()
    for minute in range(120):
        feed.minutes(1, 20 + minute / 60, digits=digits)
    fused = feed.minutes(10 * 60, 22.0, digits=digits)
    assert Reason.STUCK not in fused.left_out.values()


def test_a_coarse_sensor_is_stuck_when_the_others_moved() -> None:
    feed = Feed()
    feed.minutes(30, 22.0)
    for minute in range(60):
        fused = feed.minutes(1, 22.0 - minute / 60, {"c": 22.0})
    assert fused.left_out == {"c": Reason.STUCK}


def test_two_sensors_that_drift_apart_leave_the_warmer() -> None:
    feed, silent = Feed(), dict[str, float | None].fromkeys("cde")
    feed.minutes(60, 22.0, silent)
    for minute in range(180):
        fused = feed.minutes(1, 22.0, {**silent, "b": 21.8 - minute / 60 + 0.01 * (minute % 2)})
    assert fused.left_out["b"] is Reason.FAR
    assert fused.room_c == pytest.approx(22.0, abs=0.3)


def test_of_two_equal_groups_the_one_that_was_far_stays_out() -> None:
    feed = Feed()
    feed.minutes(60, 22.0)
    for minute in range(60):
        warm_c = min(2.3, minute / 10) + 0.01 * (minute % 3)
        feed.minutes(1, 22.0, {"c": 22.1 + warm_c, "d": 21.9 + warm_c})
    for minute in range(20):
        warm_c = 1.8 + 0.01 * (minute % 3)
        fused = feed.minutes(1, 22.0, {"c": 22.1 + warm_c, "d": 21.9 + warm_c, "e": None})
    assert fused.left_out == {"c": Reason.FAR, "d": Reason.FAR, "e": Reason.STALE}
    assert fused.room_c == pytest.approx(22.0, abs=0.15)


def test_one_sensor_is_enough() -> None:
    fusion = Fusion()
    fusion.read("a", 21.3, 0.0)
    fused = fusion.fuse(0.0)
    assert fused.room_c == 21.3
    assert not fused.proven


def test_distrusted_until_it_moves() -> None:
    fusion = Fusion()
    fusion.read("a", 15.0, 0.0)
    fusion.distrust(["a"])
    fusion.read("a", 15.0, 60.0)
    assert fusion.fuse(60.0).left_out == {"a": Reason.STUCK}
    fusion.read("a", 15.1, 120.0)
    assert fusion.fuse(120.0).used == ("a",)


def test_memory_is_bounded() -> None:
    fusion = Fusion()
    assert all(fusion.read(f"s{k}", 20.0, 0.0) for k in range(MOST_SENSORS))
    assert not fusion.read("one more", 20.0, 300.0)
    assert fusion.read("one more", 20.0, 301.0), "a stale sensor makes room"


@pytest.mark.parametrize(("hours", "known"), [(6.0, True), (6.01, False)])
def test_silent_sensors_are_removed(hours: float, known: bool) -> None:
    fusion = Fusion()
    fusion.read("a", 20.0, 0.0)
    assert ("a" in fusion.fuse(hours * 3600).left_out) is known


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=16), st.floats(0.01, 5))
def test_centre_lies_between_the_values(values: list[float], doubt: float) -> None:
    assert min(values) - 1e-9 <= robust_centre(values, doubt) <= max(values) + 1e-9


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(-30, 70), st.floats(0, 400)), min_size=1, max_size=80))
def test_room_lies_between_the_corrected_trusted_sensors(readings: list[tuple[str, float, float]]) -> None:
    fusion, now_s = Fusion(), 0.0
    for name, value_c, dt_s in readings:
        now_s += dt_s
        fusion.read(name, value_c, now_s)
        fused = fusion.fuse(now_s)
        assert set(fused.used).isdisjoint(fused.left_out)
        assert (fused.room_c is None) == (not fused.used)
        if fused.room_c is not None:
            assert -23.5 <= fused.room_c <= 63.5  # a reading, its offset and the movement since


def test_drifting_sensors_do_not_make_a_coarse_one_look_stuck() -> None:
    feed = Feed()
    feed.minutes(60, 22.0, {"c": 22.1})
    for minute in range(240):
        drift_c = minute / 60
        fused = feed.minutes(1, 22.0, {"a": 22.3 + drift_c, "b": 21.8 + drift_c, "c": 22.1 + 0.1 * (minute // 7 % 2)})
        assert fused.left_out.get("c") is None
    assert set(fused.left_out) == {"a", "b"}
    assert fused.room_c == pytest.approx(22.0, abs=0.15)


def test_sensors_every_ten_minutes_are_neither_stale_nor_stuck() -> None:
    fusion, left_out = Fusion(), set()
    for minute in range(12 * 60):
        for index, (name, offset_c) in enumerate(OFFSETS_C.items()):
            if (minute + 2 * index) % 10 == 0:
                room_c = 20 + math.sin(minute / 60)
                fusion.read(name, round(room_c + offset_c + 0.05 * math.sin(7.3 * minute + index), 1), minute * 60.0)
        fused = fusion.fuse(minute * 60.0)
        if minute >= 60:
            left_out |= set(fused.left_out.values())
            assert fused.room_c == pytest.approx(20 + math.sin(minute / 60), abs=0.35)
    assert left_out == set()


def test_readings_of_different_age_follow_the_room() -> None:
    fusion, measured = Fusion(), 0
    for minute in range(300):
        room_c = 19 + 2 * math.sin(minute / 30)
        for index, (name, offset_c) in enumerate(OFFSETS_C.items()):
            if (minute + 3 * index) % 10 == 0:
                fusion.read(name, round(room_c + offset_c, 2), minute * 60.0)
        fused = fusion.fuse(minute * 60.0)
        if minute >= 30:
            measured += fused.measured_c is not None
            assert fused.rare
            assert fused.room_c == pytest.approx(room_c, abs=0.5)
    assert 100 < measured < 160


def test_one_sensor_of_five_measures_less_surely() -> None:
    feed = Feed()
    sure = feed.minutes(60, 22.0)
    assert sure.noise_c == pytest.approx(0.1)
    doubtful = feed.minutes(1, 22.0, {"b": None, "c": None, "d": None, "e": None})
    wrong = feed.minutes(1, 22.0, {"a": 23.0, "b": None, "c": None, "d": None, "e": None})
    assert 0.1 < doubtful.noise_c < 0.3 < wrong.noise_c


def test_a_dead_sensor_is_found_by_others_that_report_changes() -> None:
    fusion, last_c = Fusion(), dict.fromkeys(OFFSETS_C, 0.0)
    for minute in range(12 * 60):
        room_c = 20 + 2 * math.sin(minute / 120)
        for name, offset_c in OFFSETS_C.items():
            value_c = round(room_c + offset_c, 1)
            if value_c != last_c[name] and (name != "c" or minute < 200):
                last_c[name] = value_c
                fusion.read(name, value_c, minute * 60.0)
        fused = fusion.fuse(minute * 60.0)
        if 60 <= minute < 200:
            assert fused.left_out == {}
    assert fused.left_out == {"c": Reason.STUCK}
