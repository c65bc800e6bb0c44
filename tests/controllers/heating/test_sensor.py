import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.heating.sensor import Reason, Sensor

MINUTE_S = 60.0


def fed(values: list[float], every_s: float = MINUTE_S) -> tuple[Sensor, float]:
    """Feed a sensor; return it and the time of its last reading."""
    sensor = Sensor(values[0], 0.0)
    for index, value_c in enumerate(values[1:], start=1):
        sensor.read(value_c, index * every_s)
    return sensor, (len(values) - 1) * every_s


def noisy(count: int) -> list[float]:
    """Return a deterministic noise of ±0.05 K at a resolution of 0.01 K, without repetition."""
    return [round(22 + 0.05 * math.sin(7.3 * k), 2) for k in range(count)]


@pytest.mark.parametrize(("silent_s", "reason"), [(299.9, None), (300.0, None), (300.1, Reason.STALE)])
def test_stale_after_five_minutes(silent_s: float, reason: Reason | None) -> None:
    sensor, now_s = fed([21.9, 22.0])
    assert sensor.fault(now_s + silent_s) is reason


@pytest.mark.parametrize(
    ("value_c", "reason"),
    [(-20.1, Reason.OUT_OF_RANGE), (-20.0, None), (60.0, None), (60.1, Reason.OUT_OF_RANGE), (-127.0, Reason.OUT_OF_RANGE)],
)
def test_physical_range(value_c: float, reason: Reason | None) -> None:
    assert Sensor(value_c, 0.0).fault(0.0) is reason


def test_back_in_range_at_once() -> None:
    sensor, now_s = fed([85.0, 21.0])
    assert sensor.fault(now_s) is None
    assert sensor.value_c == 21.0


@pytest.mark.parametrize(("step_c", "jumps"), [(2.99, False), (3.0, False), (3.01, True), (-3.0, False), (-3.01, True)])
def test_a_jump_within_a_minute(step_c: float, jumps: bool) -> None:
    sensor, now_s = fed([20.0, 20.0 + step_c])
    assert (sensor.fault(now_s) is Reason.JUMPING) is jumps


def test_a_spike_leaves_no_trace() -> None:
    sensor, now_s = fed([22.0, 22.1, 31.0, 22.0])
    assert sensor.fault(now_s) is None
    assert sensor.smooth_c < 22.1


def test_a_lasting_jump_is_accepted_but_proves_nothing() -> None:
    sensor, now_s = fed([22.0, 22.1, *[15.0] * 5])
    assert sensor.fault(now_s) is None
    assert sensor.value_c == 15.0
    assert not sensor.proven


@pytest.mark.parametrize(("repeats", "stuck"), [(3, False), (9, False), (30, True)])
def test_a_noisy_sensor_that_repeats_itself_is_stuck(repeats: int, stuck: bool) -> None:
    values = noisy(60)
    sensor, now_s = fed([*values, *[values[-1]] * repeats])
    assert (sensor.fault(now_s) is Reason.STUCK) is stuck


def test_a_stuck_sensor_that_moves_again_is_trusted_again() -> None:
    values = noisy(60)
    sensor, now_s = fed([*values, *[values[-1]] * 40, values[-1] + 0.02])
    assert sensor.fault(now_s) is None


@pytest.mark.parametrize("resolution_c", [0.1, 0.5])
def test_a_coarse_sensor_in_a_quiet_room_is_not_stuck(resolution_c: float) -> None:
    warming = [round(k * 0.05 / resolution_c) * resolution_c for k in range(320, 441)]
    sensor, now_s = fed([*warming, *[22.0] * 12 * 60])
    assert sensor.fault(now_s) is None


@pytest.mark.parametrize(("hours", "stuck"), [(23.9, False), (24.1, True)])
def test_a_value_that_never_moves_is_stuck(hours: float, stuck: bool) -> None:
    sensor, now_s = fed([22.0] * int(hours * 60 + 1))
    assert (sensor.fault(now_s) is Reason.STUCK) is stuck


def test_held_values_repeated_every_second_are_not_stuck() -> None:
    held = [value_c for value_c in noisy(60) for _ in range(60)]
    sensor, now_s = fed(held, every_s=1.0)
    assert sensor.fault(now_s) is None


@pytest.mark.parametrize(("value_c", "resolution_c"), [(22.0, 1.0), (22.5, 0.5), (22.3, 0.1), (22.37, 0.01)])
def test_resolution_is_guessed_from_digits(value_c: float, resolution_c: float) -> None:
    assert Sensor(value_c, 0.0).resolution_c == resolution_c


@given(st.lists(st.tuples(st.floats(-1e300, 1e300), st.floats(0, 1e5)), min_size=1, max_size=60))
def test_any_reading_is_handled(readings: list[tuple[float, float]]) -> None:
    sensor, now_s = Sensor(readings[0][0], 0.0), 0.0
    for value_c, dt_s in readings:
        now_s += dt_s
        sensor.read(value_c, now_s)
        sensor.fault(now_s)
    assert math.isfinite(sensor.smooth_c)


def test_a_rare_sensor_may_repeat_a_value_once() -> None:
    sensor = Sensor(20.0, 0.0)
    for number in range(1, 6):
        sensor.read(20.0 + 0.1 * (number % 2), number * 600.0)
    assert sensor.just_moved
    sensor.read(20.1, 3600.0)
    assert sensor.just_moved
    sensor.read(20.1, 4200.0)
    assert not sensor.just_moved
