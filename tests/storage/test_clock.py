import logging
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.clock import LARGEST_HELD_S, STEADY_S, WallClock

START_S = 1_800_000_000.0
DAYS_40 = 40 * 86_400.0


class Time:
    """A wall clock that can be set, and one that cannot."""

    def __init__(self) -> None:
        self.wall_s, self.running_s = START_S, 5.0
        self.clock = WallClock(lambda: round(self.wall_s * 1e6), lambda: self.running_s)

    def wait(self, seconds: float) -> None:
        self.wall_s += seconds
        self.running_s += seconds

    def arrive(self, count: int = 1) -> list[float]:
        """Return the times of arrival in seconds after the start."""
        return [(each - round(START_S * 1e6)) / 1e6 for each in self.clock.arrivals(count)]


@pytest.fixture
def time() -> Time:
    return Time()


def test_messages_arrive_a_microsecond_apart(time: Time) -> None:
    assert time.arrive(3) == [0, 1e-6, 2e-6]
    assert time.arrive(1) == [3e-6]
    time.wait(1)
    assert time.arrive(1) == [1]
    assert time.clock.warning is None


def test_clock_that_was_ahead_is_followed_back_once(time: Time, caplog: pytest.LogCaptureFixture) -> None:
    time.arrive(2)
    time.wall_s += DAYS_40
    assert time.arrive(1) == [DAYS_40]
    time.wait(5)
    caplog.clear()
    time.wall_s -= DAYS_40
    with caplog.at_level(logging.WARNING):
        assert time.arrive(2) == [5, 5.000001]
        time.wait(1)
        assert time.arrive(1) == [6]
    (record,) = caplog.records
    assert record.getMessage().startswith("the wall clock moved 40 days, 0:00:00 back: `received_at` follows it once")
    assert time.clock.warning == record.getMessage()
    time.wait(STEADY_S)
    assert time.clock.warning is None


@pytest.mark.parametrize("back_s", [0.1, LARGEST_HELD_S])
def test_small_step_back_is_held(time: Time, back_s: float) -> None:
    time.arrive(1)
    time.wall_s -= back_s
    assert time.arrive(2) == [1e-6, 2e-6]
    assert time.clock.warning is None


@pytest.mark.parametrize("back_s", [LARGEST_HELD_S + 0.1, 30.0])
def test_larger_step_back_is_followed_and_reported(time: Time, back_s: float) -> None:
    time.arrive(1)
    time.wall_s -= back_s
    assert time.arrive(1) == [-back_s]
    assert time.clock.warning is not None
    assert time.clock.unsteady is None


def test_step_back_that_the_other_clock_takes_too(time: Time) -> None:
    """A machine that is suspended and resumed from a copy, say."""
    time.arrive(1)
    time.wall_s -= DAYS_40
    time.running_s -= DAYS_40
    assert time.arrive(1) == [-DAYS_40]
    assert str(time.clock.unsteady).startswith("the wall clock moved 40 days, 0:00:00 back")


@pytest.mark.parametrize("step_s", [61.0, -61.0, DAYS_40, -DAYS_40])
def test_clock_is_unsteady_for_an_hour_after_a_step(time: Time, step_s: float) -> None:
    time.wall_s += step_s
    assert str(time.clock.unsteady).startswith("the wall clock moved")
    time.wait(STEADY_S - 1)
    assert time.clock.unsteady is not None
    time.wait(2)
    assert time.clock.unsteady is None


def test_small_corrections_are_no_step(time: Time) -> None:
    for _ in range(1_000):
        time.wait(3_600)
        time.wall_s += 0.05
    assert time.clock.unsteady is None


@pytest.mark.parametrize(
    ("ahead_s", "warns", "unsteady"), [(-9, False, False), (1, False, False), (9, True, False), (DAYS_40, True, True)]
)
def test_last_message_of_an_earlier_run(time: Time, ahead_s: float, warns: bool, unsteady: bool) -> None:
    time.clock.continue_after(datetime.fromtimestamp(START_S + ahead_s, UTC))
    assert (time.clock.warning is not None, time.clock.unsteady is not None) == (warns, unsteady)
    assert time.arrive(1) == [0]


@pytest.mark.parametrize("step_s", [0.0, DAYS_40, -DAYS_40])
def test_age_of_a_message_does_not_depend_on_steps(time: Time, step_s: float) -> None:
    (before,) = time.clock.arrivals(1)
    time.wait(0.5)
    time.wall_s += step_s
    time.wait(0.5)
    (after,) = time.clock.arrivals(1)
    time.wait(0.25)
    assert time.clock.age_s(before) == pytest.approx(1.25, abs=1e-3)
    assert time.clock.age_s(after) == pytest.approx(0.25, abs=1e-3)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(-100, 100), st.integers(1, 5)), max_size=20))
def test_times_grow_but_after_a_step_back(changes: list[tuple[float, float, int]]) -> None:
    time, last = Time(), 0
    for waited_s, step_s, count in changes:
        time.wait(waited_s)
        time.wall_s += step_s
        times = list(time.clock.arrivals(count))
        assert times == list(range(times[0], times[0] + count))
        assert times[0] > last or times[0] == round(time.wall_s * 1e6)
        last = times[-1]
