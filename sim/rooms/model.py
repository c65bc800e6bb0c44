"""Thermal model of one room: air and structure, a slow radiator, weather, sun, people and a window.

Two nodes, balanced in watts: the air with what is light in the room, and the structure (walls and floor) behind it, joined
by a conductance and each losing heat to outdoors. The radiator is a first-order lag behind a valve, which may be nonlinear, and
a pipe, which may be long. The model keeps its own plant time and reads no clock.
"""

import math
import random
from collections import deque
from dataclasses import dataclass

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
PERSON_W = 90.0
"""Sensible heat of one seated person, in W."""
SUNRISE_S, SUNSET_S = 8 * HOUR_S, 17 * HOUR_S
_LONGEST_STEP_S = 30.0


@dataclass(frozen=True, slots=True)
class Spell:
    """A part of every day during which a quantity has an amount.

    `start_s` and `end_s` are plant seconds after midnight; `amount` is persons or an air change in W/K.
    """

    start_s: float
    end_s: float
    amount: float

    def amount_at(self, time_of_day_s: float) -> float:
        """Return the amount at a time of day in s: zero outside the spell, which includes its start but not its end."""
        return self.amount if self.start_s <= time_of_day_s < self.end_s else 0.0


@dataclass(frozen=True, slots=True)
class RoomParameters:
    """Parameters of one room."""

    air_capacity_j_k: float
    """Heat capacity of the air and light furniture, J/K."""
    structure_capacity_j_k: float
    """Heat capacity of walls and floor, J/K."""
    coupling_w_k: float
    """Conductance between air and structure, W/K."""
    air_loss_w_k: float
    """Conductance from air to outdoors (glass, air leaks), W/K."""
    structure_loss_w_k: float
    """Conductance from structure to outdoors, W/K."""
    radiator_w: float
    """Heat given at level 100, W."""
    radiator_lag_s: float
    """Time constant from valve level to heat given, s."""
    outdoor_mean_c: float
    outdoor_swing_c: float
    """Half the difference between the warmest and the coldest hour, K."""
    sun_w: float
    """Heat through the window at noon under a clear sky, W."""
    people: tuple[Spell, ...]
    window: tuple[Spell, ...]
    dead_time_s: float = 0.0
    """Time for which a change of the valve level has no effect: the water is still in the pipe."""
    rangeability: float = 1.0
    """Ratio of the heat at level 100 to that of a nearly closed valve, of an equal-percentage valve; 1 is a linear valve."""


SHIPPED_ROOM = RoomParameters(
    air_capacity_j_k=4.0e5,
    structure_capacity_j_k=6.0e6,
    coupling_w_k=160.0,
    air_loss_w_k=20.0,
    structure_loss_w_k=14.0,
    radiator_w=1600.0,
    radiator_lag_s=12 * 60.0,
    outdoor_mean_c=4.0,
    outdoor_swing_c=4.0,
    sun_w=320.0,
    people=(Spell(6.5 * HOUR_S, 8 * HOUR_S, 1.0), Spell(17.5 * HOUR_S, 22 * HOUR_S, 2.0)),
    window=(Spell(8.25 * HOUR_S, 8.25 * HOUR_S + 420, 60.0),),
)
"""`room-1` of every installation, whatever the seed."""
LATE_ROOM = RoomParameters(
    air_capacity_j_k=3.0e5,
    structure_capacity_j_k=3.0e6,
    coupling_w_k=140.0,
    air_loss_w_k=26.0,
    structure_loss_w_k=16.0,
    radiator_w=2100.0,
    radiator_lag_s=6 * 60.0,
    outdoor_mean_c=4.0,
    outdoor_swing_c=4.0,
    sun_w=120.0,
    people=(Spell(9 * HOUR_S, 16 * HOUR_S, 1.0),),
    window=(),
    dead_time_s=18 * 60.0,
    rangeability=20.0,
)
"""`room-2`: at the end of a long pipe, with a radiator more than twice as large as needed, behind an equal-percentage valve."""
AIRED_ROOM = RoomParameters(
    air_capacity_j_k=2.2e5,
    structure_capacity_j_k=9.0e6,
    coupling_w_k=120.0,
    air_loss_w_k=22.0,
    structure_loss_w_k=20.0,
    radiator_w=1800.0,
    radiator_lag_s=9 * 60.0,
    outdoor_mean_c=4.0,
    outdoor_swing_c=4.0,
    sun_w=200.0,
    people=(Spell(7 * HOUR_S, 9 * HOUR_S, 2.0), Spell(18 * HOUR_S, 21 * HOUR_S, 1.0)),
    window=(Spell(9 * HOUR_S, 9 * HOUR_S + 600, 60.0), Spell(17.25 * HOUR_S, 17.25 * HOUR_S + 600, 60.0)),
)
"""`room-3`: heavy walls, and a window that is opened wide for ten minutes in the morning and in the evening."""
FIXED_ROOMS = (SHIPPED_ROOM, LATE_ROOM, AIRED_ROOM)
"""The first rooms of every installation, whatever the seed."""


def random_room(seed: int) -> RoomParameters:
    """Draw a room: radiator lag 5 to 25 min, valve authority 1:5, air time constant from about half an hour.

    Args:
        seed: any integer; the same seed gives the same room.
    """
    rng = random.Random(f"room {seed}")
    outdoor_mean_c = rng.uniform(-4.0, 9.0)
    air_loss_w_k, structure_loss_w_k = rng.uniform(8.0, 35.0), rng.uniform(6.0, 30.0)
    need_w = (air_loss_w_k + structure_loss_w_k) * (22.0 - outdoor_mean_c)
    return RoomParameters(
        air_capacity_j_k=rng.uniform(1.5e5, 7.0e5),
        structure_capacity_j_k=math.exp(rng.uniform(math.log(1.5e6), math.log(2.0e7))),
        coupling_w_k=rng.uniform(60.0, 260.0),
        air_loss_w_k=air_loss_w_k,
        structure_loss_w_k=structure_loss_w_k,
        radiator_w=need_w * math.exp(rng.uniform(math.log(1.1), math.log(5.5))),
        radiator_lag_s=rng.uniform(5 * 60.0, 25 * 60.0),
        outdoor_mean_c=outdoor_mean_c,
        outdoor_swing_c=rng.uniform(2.0, 6.0),
        sun_w=need_w * rng.uniform(0.0, 0.6),
        people=_evening(rng),
        window=_airing(rng),
    )


def _evening(rng: random.Random) -> tuple[Spell, ...]:
    start_s = rng.uniform(15.0, 19.0) * HOUR_S
    return (Spell(start_s, start_s + rng.uniform(1.0, 4.5) * HOUR_S, float(rng.randint(0, 3))),)


def _airing(rng: random.Random) -> tuple[Spell, ...]:
    if rng.random() < 0.5:
        return ()
    start_s = rng.uniform(6.5, 20.0) * HOUR_S
    return (Spell(start_s, start_s + rng.uniform(300.0, 900.0), rng.uniform(40.0, 150.0)),)


class Room:
    """The state of one room. It starts cold and in equilibrium, at midnight plus an offset.

    Attributes:
        time_s: plant seconds since the first midnight.
        air_c: true room temperature, °C.
        structure_c: temperature of walls and floor, °C.
        heat_pct: what the radiator gives now, as % of what level 100 gives in the end.
        level_pct: valve level, 0..100.
    """

    __slots__ = (
        "_arrived_pct",
        "_cloud",
        "_pipe",
        "_rng",
        "_sent_pct",
        "air_c",
        "heat_pct",
        "level_pct",
        "parameters",
        "structure_c",
        "time_s",
    )  # fmt: skip

    def __init__(self, parameters: RoomParameters, seed: int = 0, start_c: float = 17.0, time_s: float = 0.0) -> None:
        """Place the room at a time and a temperature.

        Args:
            parameters: what kind of room.
            seed: clouds are drawn from it.
            start_c: temperature of air and structure at the start, °C.
            time_s: plant seconds since midnight.
        """
        self.parameters = parameters
        self.time_s = time_s
        self.air_c = self.structure_c = start_c
        self.heat_pct = 0.0
        self.level_pct = 0.0
        self._sent_pct = self._arrived_pct = 0.0
        self._pipe: deque[tuple[float, float]] = deque()
        """Time of arrival and valve level of the changes on their way."""
        self._rng = random.Random(f"clouds {seed}")
        self._cloud = self._rng.uniform(0.0, 1.0)

    @property
    def outdoor_c(self) -> float:
        """Return the outdoor temperature now, °C: a day curve, coldest at 4 and warmest at 16:00."""
        angle = 2 * math.pi * (self.time_s - 10 * HOUR_S) / DAY_S
        return self.parameters.outdoor_mean_c + self.parameters.outdoor_swing_c * math.sin(angle)

    @property
    def sun_w(self) -> float:
        """Return the solar heat through the window now, W: a half sine from sunrise to sunset, weakened by passing clouds."""
        height = math.sin(math.pi * (self.time_s % DAY_S - SUNRISE_S) / (SUNSET_S - SUNRISE_S))
        return self.parameters.sun_w * max(0.0, height) * (1.0 - 0.8 * self._cloud)

    @property
    def supply_pct(self) -> float:
        """Return the hot water that reaches the radiator now, as % of what level 100 gives."""
        level_pct = self._delayed_pct() if self.parameters.dead_time_s else self.level_pct
        strength = self.parameters.rangeability
        return level_pct if strength == 1 else 100 * (strength ** (level_pct / 100) - 1) / (strength - 1)

    def _delayed_pct(self) -> float:
        """Return the valve level of a dead time ago."""
        if self.level_pct != self._sent_pct:
            self._sent_pct = self.level_pct
            self._pipe.append((self.time_s + self.parameters.dead_time_s, self.level_pct))
        while self._pipe and self._pipe[0][0] <= self.time_s:
            self._arrived_pct = self._pipe.popleft()[1]
        return self._arrived_pct

    def step(self, dt_s: float) -> None:
        """Advance the room.

        Args:
            dt_s: plant seconds to advance, zero or more; taken in pieces of at most 30 s.
        """
        pieces = max(1, math.ceil(dt_s / _LONGEST_STEP_S))
        for _ in range(pieces):
            self._step(dt_s / pieces)

    def _step(self, dt_s: float) -> None:
        room = self.parameters
        time_of_day_s = self.time_s % DAY_S
        outdoor_c, sun_w = self.outdoor_c, self.sun_w
        people_w = PERSON_W * sum([spell.amount_at(time_of_day_s) for spell in room.people])
        air_loss_w_k = room.air_loss_w_k + sum([spell.amount_at(time_of_day_s) for spell in room.window])
        to_structure_w = room.coupling_w_k * (self.air_c - self.structure_c)
        self.heat_pct += (self.supply_pct - self.heat_pct) * -math.expm1(-dt_s / room.radiator_lag_s)
        air_w = room.radiator_w * self.heat_pct / 100 + people_w + 0.4 * sun_w - to_structure_w
        air_w += air_loss_w_k * (outdoor_c - self.air_c)
        structure_w = to_structure_w + 0.6 * sun_w + room.structure_loss_w_k * (outdoor_c - self.structure_c)
        self.air_c += air_w * dt_s / room.air_capacity_j_k
        self.structure_c += structure_w * dt_s / room.structure_capacity_j_k
        self._drift_clouds(dt_s)
        self.time_s += dt_s

    def _drift_clouds(self, dt_s: float) -> None:
        """Vary the cloud cover randomly between 0 and 1, over about an hour."""
        wander = self._rng.gauss(0.0, 0.35) * math.sqrt(dt_s / HOUR_S)
        self._cloud = min(1.0, max(0.0, self._cloud + wander + (0.5 - self._cloud) * dt_s / (2 * HOUR_S)))
