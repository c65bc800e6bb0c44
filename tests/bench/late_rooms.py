"""Rooms that answer late, as a third party would build them: nothing is shared with `sim/rooms` or `tests/bench/plants`.

Air, wall and floor; a radiator that is too large, behind a pipe with pure dead time and a valve that is not linear; sun with
clouds, people, an opened window, and five sensors that report every minute, every ten minutes, or only when they see a change.

Constants of the law are chosen on `TUNING_SEEDS` only. `REPORTED_SEEDS` are for the figures of the bench: run them to report,
never to compare two variants of the law.
"""

import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

TUNING_SEEDS = range(1_000, 3_000)
REPORTED_SEEDS = range(500_000, 500_600)

STEP_S = 15.0
"""Length of a step of the plant, s."""
STEPS_PER_MINUTE = 4
HOUR_S, DAY_MINUTES = 3600.0, 24 * 60

VALVES = ("equal percentage", "equal percentage, coarse", "quick opening", "linear")
MODES = ("every minute", "on change", "every 10 minutes", "mixed")
FAULTS = ("stuck", "drift", "spike", "silent")
SENSORS = 5


def valve_curve(kind: str, strength: float) -> Callable[[float], float]:
    """Return the share of heat for a share of valve opening.

    Args:
        kind: one of `VALVES`. A coarse valve cannot throttle below 1 / rangeability, except by closing.
        strength: rangeability of an equal-percentage valve; steepness of a quick-opening one.
    """
    if kind == "equal percentage":
        return lambda level: (strength**level - 1) / (strength - 1)
    if kind == "equal percentage, coarse":
        return lambda level: strength ** (level - 1) if level > 0 else 0.0
    if kind == "quick opening":
        return lambda level: (1 - math.exp(-strength * level)) / (1 - math.exp(-strength))
    return lambda level: level


@dataclass(frozen=True, slots=True)
class LateRoom:
    """Parameters of one room. Times in s, capacities in J/K, conductances in W/K, heat in W."""

    seed: int
    valve: str
    valve_strength: float
    dead_s: float
    radiator_lag_s: float
    oversize: float
    """Heat at a fully open valve, as a multiple of the loss at 22 °C in the coldest hour."""
    slowest_s: float
    """Slowest time constant of the room."""
    air_j_k: float
    wall_j_k: float
    floor_j_k: float
    air_wall_w_k: float
    air_floor_w_k: float
    air_loss_w_k: float
    wall_loss_w_k: float
    radiant: float
    """Share of the radiator's heat that goes into the wall."""
    start_c: float
    outdoor_mean_c: float
    outdoor_swing_c: float
    sun_w: float
    people_w: float
    people_from_h: float
    people_for_h: float
    window_w_k: float
    """Zero in rooms without an opened window."""
    window_from_h: float
    window_for_s: float
    sensors: str
    """One of `MODES`."""
    faults: tuple[str, ...]

    @property
    def need_w(self) -> float:
        """Loss at 22 °C in the coldest hour."""
        return (self.air_loss_w_k + self.wall_loss_w_k) * (22.0 - self.outdoor_mean_c + self.outdoor_swing_c)

    @property
    def power_w(self) -> float:
        """Heat at a fully open valve."""
        return self.oversize * self.need_w

    @property
    def curve(self) -> Callable[[float], float]:
        """Share of heat for a share of valve opening."""
        return valve_curve(self.valve, self.valve_strength)

    @property
    def delay_class(self) -> str:
        """Dead time, as one of three classes."""
        minutes = self.dead_s / 60
        return "dead 2-8 min" if minutes < 8 else "dead 8-15 min" if minutes < 15 else "dead 15-25 min"

    def describe(self) -> str:
        """Return the parameters on one line."""
        window = f", window {self.window_for_s / 60:.0f} min {self.window_w_k:.0f} W/K" if self.window_w_k else ""
        return (
            f"{self.valve} {self.valve_strength:.0f}, dead {self.dead_s / 60:.0f} min, lag {self.radiator_lag_s / 60:.0f} min, "
            f"×{self.oversize:.1f}, slowest {self.slowest_s / HOUR_S:.1f} h, sun {self.sun_w / self.need_w:.2f}, "
            f"people {self.people_w / self.need_w:.2f}{window}, {self.sensors}, {' + '.join(self.faults) or 'no fault'}"
        )


def late_room(seed: int) -> LateRoom:
    """Draw a room; the same seed gives the same room."""
    rng = random.Random(f"late room {seed}")
    valve = rng.choices(VALVES, (50, 10, 20, 20))[0]
    strength = _log_uniform(rng, 4, 50) if valve.startswith("equal") else rng.uniform(2.5, 5)
    slowest_s = HOUR_S * _log_uniform(rng, 0.5, 20)
    air_loss, wall_loss = rng.uniform(12, 40), rng.uniform(5, 25)
    total_j_k = slowest_s * (air_loss + wall_loss)
    air_j_k = min(rng.uniform(0.35, 0.7) * total_j_k, rng.uniform(1e5, 4e5))
    wall_share = rng.uniform(0.4, 0.8)
    wall_j_k, floor_j_k = wall_share * (total_j_k - air_j_k), (1 - wall_share) * (total_j_k - air_j_k)
    air_wall, air_floor = rng.uniform(60, 220), rng.uniform(30, 120)
    scale = slowest_s / _slowest_s((air_j_k, wall_j_k, floor_j_k), air_wall, air_floor, air_loss, wall_loss)
    outdoor_mean_c, swing_c = rng.uniform(-4, 9), rng.uniform(2, 6)
    need_w = (air_loss + wall_loss) * (22 - outdoor_mean_c + swing_c)
    window = rng.random() < 0.25
    return LateRoom(
        seed=seed,
        valve=valve,
        valve_strength=strength,
        dead_s=60 * _log_uniform(rng, 2, 25),
        radiator_lag_s=60 * rng.uniform(4, 12),
        oversize=_log_uniform(rng, 1.3, 4),
        slowest_s=slowest_s,
        air_j_k=scale * air_j_k,
        wall_j_k=scale * wall_j_k,
        floor_j_k=scale * floor_j_k,
        air_wall_w_k=air_wall,
        air_floor_w_k=air_floor,
        air_loss_w_k=air_loss,
        wall_loss_w_k=wall_loss,
        radiant=rng.uniform(0, 0.35),
        start_c=rng.uniform(15, 18),
        outdoor_mean_c=outdoor_mean_c,
        outdoor_swing_c=swing_c,
        sun_w=need_w * rng.uniform(0, 0.3),
        people_w=need_w * rng.uniform(0, 0.15),
        people_from_h=rng.uniform(7, 18),
        people_for_h=rng.uniform(0.5, 5),
        window_w_k=rng.uniform(30, 120) if window else 0.0,
        window_from_h=rng.uniform(6.5, 20),
        window_for_s=rng.uniform(300, 900),
        sensors=rng.choices(MODES, (40, 25, 20, 15))[0],
        faults=tuple(rng.sample(FAULTS, rng.choices((0, 1, 2), (50, 30, 20))[0])),
    )


def _log_uniform(rng: random.Random, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _slowest_s(
    capacities: tuple[float, float, float], air_wall: float, air_floor: float, air_loss: float, wall_loss: float
) -> float:
    """Return the slowest time constant of the three nodes, by power iteration with the inverse of the conductances."""
    air, wall, floor = 1.0, 1.0, 1.0
    slowest_s = 0.0
    for _ in range(60):
        air_w, wall_w, floor_w = air * capacities[0], wall * capacities[1], floor * capacities[2]
        through = air_wall / (air_wall + wall_loss)
        air = (air_w + floor_w + through * wall_w) / (air_loss + through * wall_loss)
        wall, floor = (wall_w + air_wall * air) / (air_wall + wall_loss), air + floor_w / air_floor
        slowest_s = max(air, wall, floor)
        air, wall, floor = air / slowest_s, wall / slowest_s, floor / slowest_s
    return slowest_s


class Late:
    """The state of one room; a `Plant` of the bench. It starts cold and in equilibrium, at midnight.

    Attributes:
        room: parameters.
        air_c: true room temperature, °C.
        level_pct: valve level, 0..100.
        boiler_on: whether there is hot water; without, the radiator gets no heat.
        minutes: plant minutes since the first midnight.
    """

    def __init__(self, room: LateRoom) -> None:
        self.room = room
        self.air_c = self.wall_c = self.floor_c = room.start_c
        self.level_pct = 0.0
        self.boiler_on = True
        self.minutes = 0
        self.heat = 0.0
        self.pipe: deque[float] = deque([0.0] * max(1, round(room.dead_s / STEP_S)))
        self._curve = room.curve
        self._cloud = 0.5
        self._rng = random.Random(f"clouds of late room {room.seed}")

    def step(self, dt_s: float) -> None:
        """Advance by whole minutes; weather and people are constant for a minute."""
        for _ in range(max(1, round(dt_s / 60))):
            self._minute()
            self.minutes += 1

    def outdoor_c(self) -> float:
        """Return the outdoor temperature now, °C."""
        angle = (self.minutes / 60 - 4.5) / 24 * 2 * math.pi
        return self.room.outdoor_mean_c - self.room.outdoor_swing_c * math.cos(angle)

    def airs(self) -> bool:
        """Return whether the window is open now."""
        return 0 <= self.minutes % DAY_MINUTES * 60 - self.room.window_from_h * HOUR_S < self.room.window_for_s

    def gains_w(self) -> tuple[float, float, float]:
        """Return the heat into air, wall and floor that does not depend on the room now, W; without an opened window."""
        room, day_h, out_c = self.room, self.minutes % DAY_MINUTES / 60, self.outdoor_c()
        height = math.sin(math.pi * (day_h - 8) / 9) if 8 < day_h < 17 else 0.0
        sun_w = room.sun_w * height * (1 - 0.8 * self._cloud)
        people_w = room.people_w if 0 <= day_h - room.people_from_h < room.people_for_h else 0.0
        air_w = people_w + 0.4 * sun_w + room.air_loss_w_k * out_c
        return air_w, 0.3 * sun_w + room.wall_loss_w_k * out_c, 0.3 * sun_w

    def _minute(self) -> None:
        room = self.room
        air_gain_w, wall_gain_w, floor_gain_w = self.gains_w()
        self._cloud = min(1.0, max(0.0, self._cloud + self._rng.gauss((0.5 - self._cloud) / 90, 0.06)))
        window_w_k = room.window_w_k if self.airs() else 0.0
        air_gain_w += window_w_k * self.outdoor_c()
        air_loss = room.air_loss_w_k + window_w_k
        to_air_w, to_wall_w = room.power_w * (1 - room.radiant), room.power_w * room.radiant
        sent = self._curve(self.level_pct / 100) if self.boiler_on else 0.0
        air_c, wall_c, floor_c, heat, pipe = self.air_c, self.wall_c, self.floor_c, self.heat, self.pipe
        for _ in range(STEPS_PER_MINUTE):
            pipe.append(sent)
            heat += (pipe.popleft() - heat) * STEP_S / room.radiator_lag_s
            wall_w, floor_w = room.air_wall_w_k * (air_c - wall_c), room.air_floor_w_k * (air_c - floor_c)
            air_c += (to_air_w * heat + air_gain_w - air_loss * air_c - wall_w - floor_w) * STEP_S / room.air_j_k
            wall_c += (to_wall_w * heat + wall_w + wall_gain_w - room.wall_loss_w_k * wall_c) * STEP_S / room.wall_j_k
            floor_c += (floor_w + floor_gain_w) * STEP_S / room.floor_j_k
        self.air_c, self.wall_c, self.floor_c, self.heat = air_c, wall_c, floor_c, heat


class LateSensor:
    """One sensor: offset, noise, resolution, a way to report, and at most one fault."""

    def __init__(self, number: int, mode: str, fault: str, rng: random.Random) -> None:
        self.name = f"sensor-{number}"
        self.fault = fault
        self.fault_minute = round(rng.uniform(60, 600))
        self.drift_c_minute = rng.choice((-1, 1)) * rng.uniform(0.2, 1.0) / 60
        self.offset_c = max(-0.5, min(0.5, rng.gauss(0, 0.2)))
        self.noise_c = rng.uniform(0.004, 0.02) if mode == "on change" else rng.uniform(0.02, 0.1)
        self.step_c = (0.5 if number == SENSORS else 0.1) if mode == "on change" else rng.choice((0.01, 0.1))
        self.on_change = mode == "on change"
        self.every = 10 if mode == "every 10 minutes" else 1
        self.phase = rng.randrange(self.every)
        self.rng = random.Random(rng.random())
        self.last_c: float | None = None

    def read(self, air_c: float, minute: int) -> float | None:
        """Return what it reports in this minute, °C, or None."""
        faulty = self.fault != "" and minute >= self.fault_minute
        if (minute + self.phase) % self.every or (faulty and self.fault == "silent"):
            return None
        if faulty and self.fault == "stuck" and self.last_c is not None:
            return None if self.on_change else self.last_c
        measured_c = air_c + self.offset_c + self.rng.gauss(0, self.noise_c)
        if faulty and self.fault == "drift":
            measured_c += self.drift_c_minute * (minute - self.fault_minute)
        if faulty and self.fault == "spike" and self.rng.random() < 0.05:
            measured_c += self.rng.choice((-1, 1)) * self.rng.uniform(3, 15)
        if self.on_change and self.last_c is not None and abs(measured_c - self.last_c) < self.step_c:
            return None
        self.last_c = round(round(measured_c / self.step_c) * self.step_c, 2)
        return self.last_c


def late_sensors(room: LateRoom, *, faulty: bool = True) -> list[LateSensor]:
    """Make the five sensors of a room, with its faults or without; the same room gives the same sensors."""
    rng = random.Random(f"sensors of late room {room.seed}")
    faults = [*room.faults, *[""] * SENSORS] if faulty else [""] * SENSORS
    mixed = ("every minute", "on change", "every 10 minutes", "on change", "every 10 minutes")
    modes = mixed if room.sensors == "mixed" else (room.sensors,) * SENSORS
    return [LateSensor(number, modes[number - 1], faults[number - 1], rng) for number in range(1, SENSORS + 1)]
