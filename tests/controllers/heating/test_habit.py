import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.heating.habit import ON_CHANGE_ALLOWED_S, SHORTEST_ALLOWED_S, Habit
from controllers.heating.sensor import Reason, Sensor

MINUTE_S, HOUR_S = 60.0, 3600.0


def learned(gaps_s: list[float], steps_c: list[float]) -> Habit:
    habit = Habit()
    for gap_s, step_c in zip(gaps_s, steps_c, strict=True):
        habit.note(gap_s, step_c)
    return habit


@pytest.mark.parametrize(("every_s", "allowed_s"), [(1, 300), (60, 300), (120, 300), (600, 1500), (1800, 4500)])
def test_silence_allowed_follows_the_interval(every_s: float, allowed_s: float) -> None:
    steps_c = [0.0, 0.1, 0.0, -0.1] * 5
    assert learned([every_s] * 20, steps_c).allowed_s(noisy=False) == pytest.approx(allowed_s)


def test_steady_change_may_be_all_that_is_reported() -> None:
    assert learned([60.0] * 10, [0.1] * 10).reports_changes_only


def test_changes_at_irregular_times_are_all_reported() -> None:
    gaps_s = [60.0, 300.0, 120.0, 900.0, 60.0, 240.0]
    habit = learned(gaps_s, [0.1, -0.1, 0.1, 0.1, -0.1, 0.1])
    assert habit.allowed_s(noisy=False) == ON_CHANGE_ALLOWED_S
    assert habit.allowed_s(noisy=True) < HOUR_S


def test_a_repeated_value_means_reports_at_an_interval() -> None:
    assert not learned([60.0] * 6, [0.1, 0.1, 0.1, 0.1, 0.1, 0.0]).reports_changes_only


def test_a_sign_of_life_after_an_hour_is_no_repetition() -> None:
    gaps_s = [60.0, 300.0, 120.0, 900.0, 60.0, 240.0, HOUR_S]
    assert learned(gaps_s, [0.1, -0.1, 0.1, 0.1, -0.1, 0.1, 0.0]).reports_changes_only


def test_rare_reports_by_the_clock_of_a_rising_room() -> None:
    assert not learned([600.0] * 6, [0.9, 0.6, 0.8, 0.5, 0.3, 0.2]).reports_changes_only
    assert learned([600.0] * 6, [0.1] * 6).reports_changes_only


def test_irregular_changes_are_remembered_until_a_repetition() -> None:
    gaps_s, steps_c = [60.0, 900.0, 300.0, 600.0, 100.0, *[600.0] * 30], [0.1, 0.2, -0.1, 0.2, -0.1, *[0.1, -0.2] * 15]
    habit = learned(gaps_s, steps_c)
    assert habit.reports_changes_only
    habit.note(600.0, 0.0)
    assert not habit.reports_changes_only


def test_changes_up_and_down_every_minute_are_noise() -> None:
    assert not learned([60.0] * 20, [0.04, 0.04, -0.06, 0.04, -0.06] * 4).reports_changes_only


def test_one_outage_is_no_new_interval() -> None:
    habit = learned([*[60.0] * 20, 2 * HOUR_S], [0.1, 0.0, -0.1] * 7)
    assert habit.allowed_s(noisy=False) == SHORTEST_ALLOWED_S


def test_late_readings_in_a_burst_change_nothing() -> None:
    habit = learned([600.0] * 20, [0.1, 0.0] * 10)
    before_s = habit.allowed_s(noisy=False)
    for _ in range(50):
        habit.note(0.0, 0.1)
    assert habit.allowed_s(noisy=False) == before_s


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(-100, 100)), max_size=50), st.booleans())
def test_the_allowed_silence_is_bounded(reports: list[tuple[float, float]], noisy: bool) -> None:
    allowed_s = learned([gap_s for gap_s, _ in reports], [step_c for _, step_c in reports]).allowed_s(noisy)
    assert SHORTEST_ALLOWED_S <= allowed_s < math.inf
    longest_s = max([gap_s for gap_s, _ in reports], default=0.0)
    assert allowed_s <= max(ON_CHANGE_ALLOWED_S, 2.5 * longest_s)


@pytest.mark.parametrize(("interval_s", "stale_after_s"), [(60, 300), (600, 1500)])
def test_regular_sensors_that_stop_are_stale(interval_s: int, stale_after_s: int) -> None:
    rng, sensor, now_s = random.Random(1), Sensor(22.0, 0.0), 0.0
    for _ in range(100):
        now_s += interval_s
        sensor.read(round(22 + rng.gauss(0, 0.05), 2), now_s)
    assert sensor.fault(now_s + stale_after_s) is None
    assert sensor.fault(now_s + stale_after_s + 1) is Reason.STALE


def test_quiet_for_hours_after_reporting_changes_only() -> None:
    sensor, now_s = Sensor(18.0, 0.0), 0.0
    for number, minutes in enumerate([3, 4, 4, 6, 5, 9, 12, 20], start=1):
        now_s += minutes * MINUTE_S
        sensor.read(18 + number / 2, now_s)
    assert sensor.fault(now_s + 12 * HOUR_S) is None
