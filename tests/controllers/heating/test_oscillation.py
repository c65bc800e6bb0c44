import itertools
import math
import random
from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.heating.oscillation import FIRST_CALM_S, Cycle, CycleDetector, OscillationGuard

MINUTE_S, HOUR_MIN = 60.0, 60


class Integrating:
    """A room with dead time in which full heat raises the temperature by `rate_c_h`, and that loses a part of it."""

    def __init__(self, rate_c_h: float, dead_min: int, hold_pct: float = 40.0, valve: Callable[[float], float] = float) -> None:
        self.rate_c_h, self.hold, self.valve = rate_c_h, valve(hold_pct / 100), valve
        self.pipe = deque([hold_pct / 100] * dead_min)
        self.warm_c = -1.0

    def minute(self, level: float) -> float:
        self.pipe.append(level / 100)
        self.warm_c += self.rate_c_h * (self.valve(self.pipe.popleft()) - self.hold) / 60 - 0.1 * self.warm_c / 60
        return self.warm_c


def relay(plant: Integrating, minutes: int, detector: CycleDetector) -> list[Cycle]:
    level, cycles = 100.0, []
    for _ in range(minutes):
        warm_c = plant.minute(level)
        if (cycle := detector.update(warm_c, level, MINUTE_S)) is not None:
            cycles.append(cycle)
        level = 0.0 if warm_c > 0 else 100.0
    return cycles


def watched(warm_c: Callable[[int], float], level: Callable[[int], float], minutes: int = 48 * HOUR_MIN) -> list[Cycle]:
    detector, rng = CycleDetector(), random.Random(1)
    found = [detector.update(warm_c(m) + rng.gauss(0, 0.03), level(m), MINUTE_S) for m in range(minutes)]
    return [each for each in found if each is not None]


@pytest.mark.parametrize(("rate_c_h", "dead_min"), [(5.0, 20), (10.0, 12), (4.0, 25), (30.0, 8), (15.0, 25)])
def test_relay_feedback_is_measured_within_four_periods(rate_c_h: float, dead_min: int) -> None:
    cycle = relay(Integrating(rate_c_h, dead_min), 20 * dead_min, CycleDetector())[0]
    assert cycle.period_s == pytest.approx(4 * dead_min * 60, rel=0.25)
    assert cycle.dead_s == pytest.approx(dead_min * 60, rel=0.25)
    assert cycle.gain_c_s == pytest.approx(rate_c_h / 3600 / 100, rel=0.25)


@pytest.mark.parametrize(
    ("name", "warm_c", "level"),
    [
        ("day curve", lambda m: 1.5 * math.sin(2 * math.pi * m / 1440), lambda m: 40 - 30 * math.sin(2 * math.pi * m / 1440)),
        (
            "decay",
            lambda m: 3 * math.exp(-m / 120) * math.sin(m / 12),
            lambda m: 50 + 40 * math.exp(-m / 120) * math.sin(m / 12),
        ),
        ("small", lambda m: 0.25 * math.sin(m / 10), lambda m: 50 + 40 * math.sin(m / 10)),
        ("no level", lambda m: 1.0 * math.sin(m / 10), lambda m: 0.0),
        ("hardly any level", lambda m: 1.0 * math.sin(m / 10), lambda m: 50 + 5 * math.sin(m / 10)),
        ("airing every two hours", lambda m: -3.0 * math.exp(-(m % 120) / 10), lambda m: 80 * math.exp(-(m % 120) / 10) + 20),
        ("rise", lambda m: min(0.0, -5 + m / 60), lambda m: 100.0),
        ("still", lambda m: 0.0, lambda m: 40.0),
    ],
)
def test_no_limit_cycle(name: str, warm_c: Callable[[int], float], level: Callable[[int], float]) -> None:
    assert watched(warm_c, level) == []


def test_people_and_clouds_of_random_length_are_no_cycle() -> None:
    rng, warm = random.Random(5), 0.0
    changes: list[float] = []
    values: list[float] = []
    for _ in range(40):
        length, target = rng.randint(15, 240), rng.uniform(-0.2, 0.9)
        changes.extend([target] * length)
    for target in changes:
        warm += (target - warm) / 20
        values.append(warm)
    assert watched(values.__getitem__, lambda m: 50 - 40 * values[m], len(values)) == []


def hot_law(gain_pct_c: float) -> Callable[[float], float]:
    return lambda warm_c: min(100.0, max(0.0, 40 - gain_pct_c * warm_c))


def controlled(plant: Integrating, law: Callable[[float], float], hours: int) -> tuple[OscillationGuard, list[float]]:
    """Control with a law that is far too hot, unless the guard has taken over; return the levels."""
    guard, level, levels = OscillationGuard(), 40.0, []
    for _ in range(hours * HOUR_MIN):
        warm_c = plant.minute(level)
        guard.update(22 + warm_c, 22.0, level, MINUTE_S)
        if guard.law is not None:
            level = min(100.0, max(0.0, guard.law.update(-warm_c, level, MINUTE_S) + guard.law.integral_pct))
        else:
            level = law(warm_c)
        level = float(round(level))
        levels.append(level)
    return guard, levels


@pytest.mark.parametrize("seed", range(40))
def test_oscillations_of_ordinary_rooms_end(seed: int) -> None:
    rng = random.Random(seed)
    rate_c_h, dead_min, hold_pct = rng.uniform(3, 40), rng.randint(5, 25), rng.uniform(25, 75)
    valve = rng.choice(["linear", "equal", "quick"])
    curve = {
        "linear": float,
        "equal": lambda level: (20**level - 1) / 19,
        "quick": lambda level: (1 - math.exp(-3 * level)) / (1 - math.exp(-3)),
    }[valve]
    plant = Integrating(min(rate_c_h, 240 / dead_min), dead_min, hold_pct, curve)
    _, levels = controlled(plant, hot_law(500), 24)
    assert sum(abs(b - a) for a, b in itertools.pairwise(levels[-3 * HOUR_MIN :])) < 60


def test_the_law_returns_after_a_calm_day_then_two() -> None:
    plant = Integrating(6.0, 20)
    guard, _ = controlled(plant, hot_law(500), 12)
    assert guard.oscillation is not None
    for _ in range(round(FIRST_CALM_S / MINUTE_S)):
        guard.update(22.0, 22.0, 40.0, MINUTE_S)
    assert guard.law is None
    assert guard.oscillation is None
    for cycle in range(2):
        for minute in range(600):
            guard.update(22 + 2 * math.sin(minute / 15), 22.0, 50 - 40 * math.cos(minute / 15), MINUTE_S)
        assert guard.law is not None, cycle
    for _ in range(round(1.9 * FIRST_CALM_S / MINUTE_S)):
        guard.update(22.0, 22.0, 40.0, MINUTE_S)
    assert guard.law is not None


def test_an_oscillation_under_the_pi_law_halves_its_gain() -> None:
    guard, gains = OscillationGuard(), []
    for minute in range(1200):
        guard.update(22 + 2 * math.sin(minute / 15), 22.0, 50 - 40 * math.cos(minute / 15), MINUTE_S)
        if guard.oscillation and guard.oscillation.gain_pct_c not in gains:
            gains.append(guard.oscillation.gain_pct_c)
    assert len(gains) >= 2
    assert all(later <= max(1.0, earlier / 2) for earlier, later in itertools.pairwise(gains))


def test_a_setpoint_change_starts_the_detection_again() -> None:
    guard = OscillationGuard()
    for minute in range(1200):
        setpoint_c = 22.0 + (minute // 150) % 2
        guard.update(22 + 2 * math.sin(minute / 15), setpoint_c, 50 - 40 * math.cos(minute / 15), MINUTE_S)
    assert guard.law is None


@given(st.lists(st.tuples(st.floats(-20, 60), st.floats(5, 35), st.integers(0, 100), st.floats(0, 1e5)), max_size=60))
def test_any_history_is_handled(history: list[tuple[float, float, int, float]]) -> None:
    guard = OscillationGuard()
    for room_c, setpoint_c, level, dt_s in history:
        guard.update(room_c, setpoint_c, level, dt_s)
        if guard.law is not None:
            assert math.isfinite(guard.law.update(setpoint_c - room_c, level, dt_s))
            assert 0 <= guard.law.integral_pct <= 100
