"""One day of a law in a room that answers late, from a cold start at midnight, and the figures of it."""

import importlib
import itertools
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from tests.bench.late_rooms import Late, LateRoom, late_room, late_sensors
from tests.bench.laws import SETPOINT_C, FixedPi, Law, Proportional, Shipped, TwoPoint

MINUTES = 24 * 60
SETTLED_MINUTE, MORNING_MINUTE = 3 * 60, 6 * 60
BAND_C = 0.5
LAWS: dict[str, Callable[[], Law]] = {
    "two-point": TwoPoint,
    "proportional": Proportional,
    "fixed PI": FixedPi,
    "shipped": Shipped,
}
SIMPLE = ("two-point", "proportional", "fixed PI")
"""Laws without fusion: they get the mean of the last values of sensors without faults."""


@dataclass(frozen=True, slots=True)
class LateDay:
    """The results of one law in one room on one day."""

    seed: int
    in_band_pct: float
    """Share of the time after the first three hours with the true temperature within ±0.5 K, percent."""
    overshoot_c: float
    """Above the setpoint in the first six hours, before sun, people and windows, K."""
    rms_c: float
    travel_pct: int
    """Sum of all valve movements."""


@dataclass(frozen=True)
class Trace:
    """The day in detail: per minute the true temperature, °C, and the level, percent."""

    temperatures_c: list[float]
    levels: list[int]

    @cached_property
    def travel_pct(self) -> int:
        """Sum of all valve movements."""
        return sum(abs(b - a) for a, b in itertools.pairwise([0, *self.levels]))


def has_power(room: LateRoom) -> bool:
    """Return whether full heat keeps the room at the setpoint or above for 97 % of the time after three hours."""
    plant = Late(room)
    plant.level_pct = 100
    warm = 0
    for minute in range(MINUTES):
        plant.step(60)
        warm += minute >= SETTLED_MINUTE and plant.air_c >= SETPOINT_C
    return warm >= 0.97 * (MINUTES - SETTLED_MINUTE)


def trace(room: LateRoom, law: Law, *, simple: bool = False, irregular: bool = False) -> Trace:
    """Run one day.

    Args:
        room: which room.
        law: which law.
        simple: whether the law has no fusion.
        irregular: whether decisions come up to half a minute early or late, as on a busy machine at a high time scale.
    """
    hurry = random.Random(room.seed)
    plant = Late(room)
    sensors = late_sensors(room, faulty=not simple)
    last: dict[str, float] = {}
    result = Trace([], [])
    for minute in range(1, MINUTES + 1):
        plant.step(60)
        new = {each.name: value for each in sensors if (value := each.read(plant.air_c, minute)) is not None}
        last |= new
        now_s = minute * 60.0 + (hurry.uniform(-29, 29) if irregular else 0.0)
        plant.level_pct = level = law.level(last if simple else new, now_s)
        result.temperatures_c.append(plant.air_c)
        result.levels.append(level)
    return result


def summary(seed: int, day: Trace) -> LateDay:
    """Return the figures of a day."""
    errors_c = [each - SETPOINT_C for each in day.temperatures_c]
    settled_c = errors_c[SETTLED_MINUTE:]
    return LateDay(
        seed=seed,
        in_band_pct=100 * sum(abs(each) <= BAND_C for each in settled_c) / len(settled_c),
        overshoot_c=max(0.0, *errors_c[:MORNING_MINUTE]),
        rms_c=statistics.fmean(each**2 for each in settled_c) ** 0.5,
        travel_pct=day.travel_pct,
    )


def play(law: str, irregular: bool, seed: int) -> LateDay | None:
    """Run the law, by name or `module:Class`, in the room of a seed; None if the room lacks the power."""
    room = late_room(seed)
    if not has_power(room):
        return None
    return summary(seed, trace(room, make(law), simple=law in SIMPLE, irregular=irregular))


def make(law: str) -> Law:
    """Make a law: a name in `LAWS`, or `module:Class`."""
    if law in LAWS:
        return LAWS[law]()
    module, _, name = law.partition(":")
    made: Law = getattr(importlib.import_module(module), name)()
    return made
