"""One ship's electrical load, and the meter that reads it.

The load has three parts: the hotel load (light, galley, air conditioning), which follows the day; propulsion in the legs of
a timetable, the same every day; and the additional load in harbour. Small noise wanders slowly. The meter integrates the
load over its interval. The model keeps its own plant time and reads no clock.
"""

import math
import random
from dataclasses import dataclass

DAY_S = 86_400
STEP_S = 60
"""Length of a step of the load, s; it divides every interval of a meter."""


@dataclass(frozen=True, slots=True)
class Meter:
    """A ship's meter: mean power or energy (`kW` or `kWh`) of each interval, s."""

    units: str
    interval_s: int


METERS = (Meter("kWh", 3600), Meter("kW", 300), Meter("kWh", 900))
"""The three kinds of meter; ships have them in turn."""


@dataclass(frozen=True, slots=True)
class Leg:
    """A part of the timetable under way: plant seconds since midnight UTC."""

    begin_s: int
    end_s: int


@dataclass(frozen=True, slots=True)
class ShipParameters:
    """Parameters of one ship. Powers in kW."""

    hotel_kw: float = 60.0
    hotel_swing_kw: float = 20.0
    """Increase of the hotel load in the evening, and decrease before dawn."""
    propulsion_kw: float = 240.0
    harbour_kw: float = 15.0
    """Load of cranes, pumps and shore services in harbour."""
    legs: tuple[Leg, ...] = (Leg(6 * 3600, 9 * 3600), Leg(11 * 3600, 15 * 3600), Leg(17 * 3600, 20 * 3600))
    ramp_s: float = 900.0
    """Time from rest to full power at the beginning of a leg, and back at its end, s."""
    noise: float = 0.02
    """Standard deviation of the wandering noise, as a share of the load."""


def random_ship(seed: int) -> ShipParameters:
    """Draw a ship.

    Args:
        seed: any integer; the same seed gives the same ship.
    """
    rng = random.Random(f"ship {seed}")
    hotel_kw = rng.uniform(30.0, 200.0)
    begin_s, legs = rng.randrange(4, 8) * 3600, []
    while begin_s < 19 * 3600:
        end_s = begin_s + rng.randrange(4, 17) * 900
        legs.append(Leg(begin_s, end_s))
        begin_s = end_s + rng.randrange(2, 9) * 900
    return ShipParameters(
        hotel_kw=hotel_kw,
        hotel_swing_kw=hotel_kw * rng.uniform(0.2, 0.4),
        propulsion_kw=hotel_kw * rng.uniform(2.0, 6.0),
        harbour_kw=hotel_kw * rng.uniform(0.1, 0.4),
        legs=tuple(legs),
    )


class Ship:
    """The state of one ship, from `start_s` on, plant seconds since 1970. `seed` determines the noise."""

    __slots__ = ("_interval_begin_s", "_noise", "_now_s", "_rng", "meter", "parameters")

    def __init__(self, parameters: ShipParameters, meter: Meter, start_s: float, seed: int = 0) -> None:
        self.parameters, self.meter = parameters, meter
        self._rng = random.Random(f"load {seed}")
        self._noise = 0.0
        self._interval_begin_s = math.ceil(start_s / meter.interval_s) * meter.interval_s
        """Beginning of the current interval; the first one is whole."""
        self._now_s: float = start_s

    @property
    def now_s(self) -> float:
        """The ship's plant time, seconds since 1970."""
        return self._now_s

    def step(self, dt_s: float) -> list[tuple[int, float]]:
        """Advance the ship; return the readings of the completed intervals, with their beginning in s since 1970.

        Args:
            dt_s: plant seconds to advance, zero or more. The readings do not depend on the size of the steps.
        """
        self._now_s += dt_s
        readings = []
        while self._interval_begin_s + self.meter.interval_s <= self._now_s:
            readings.append((self._interval_begin_s, self._read()))
            self._interval_begin_s += self.meter.interval_s
        return readings

    def load_kw(self, at_s: float) -> float:
        """Return the load without noise, kW, at a plant time in seconds since 1970."""
        ship, time_s = self.parameters, at_s % DAY_S
        evening = math.cos((time_s - 19 * 3600) * 2 * math.pi / DAY_S)
        propulsion = max((self._power(leg, time_s) for leg in ship.legs), default=0.0)
        harbour_kw = ship.harbour_kw * (1.0 - propulsion)
        return ship.hotel_kw + ship.hotel_swing_kw * evening + ship.propulsion_kw * propulsion + harbour_kw

    def _power(self, leg: Leg, time_s: float) -> float:
        """Return the propulsion's share of its full power in a leg."""
        inside_s = min(time_s - leg.begin_s, leg.end_s - time_s)
        return min(1.0, max(0.0, inside_s / self.parameters.ramp_s))

    def _read(self) -> float:
        """Return the reading of the current interval, to three decimals."""
        steps = self.meter.interval_s // STEP_S
        total_kw = sum(self._noisy_kw(self._interval_begin_s + n * STEP_S) for n in range(steps))
        mean_kw = total_kw / steps
        return round(mean_kw if self.meter.units == "kW" else mean_kw * self.meter.interval_s / 3600, 3)

    def _noisy_kw(self, at_s: float) -> float:
        kept = math.exp(-STEP_S / 1800.0)
        self._noise = self._noise * kept + self._rng.gauss(0.0, self.parameters.noise * math.sqrt(1 - kept * kept))
        return self.load_kw(at_s + STEP_S / 2) * (1.0 + self._noise)
