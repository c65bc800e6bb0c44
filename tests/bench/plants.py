"""Rooms that share no code and little structure with `sim/rooms`: the law must control them too.

Each has `air_c` (true room temperature, °C), `level_pct` (valve level, to be set) and `step(dt_s)`.
"""

import math
import random
from collections import deque
from collections.abc import Callable
from typing import Protocol


class Plant(Protocol):
    """Any room."""

    air_c: float
    level_pct: float

    def step(self, dt_s: float) -> None:
        """Advance by `dt_s` plant seconds."""
        ...


def linear(level: float) -> float:
    """Give the share of heat for a share of valve opening: as much."""
    return level


def quick_opening(level: float) -> float:
    """Give the share of heat for a share of valve opening: most of it in the first third."""
    return (1 - math.exp(-4 * level)) / (1 - math.exp(-4))


def equal_percentage(level: float) -> float:
    """Give the share of heat for a share of valve opening: little of it in the first half."""
    return (math.exp(3 * level) - 1) / (math.exp(3) - 1)


class Surroundings:
    """Outdoor temperature, and heat from sun and people as a share of what the room needs on the coldest hour."""

    def __init__(self, rng: random.Random, mean_c: float) -> None:
        self.mean_c = mean_c
        self.swing_c = rng.uniform(2, 6)
        self.sun = rng.uniform(0, 0.4)
        self.people = rng.uniform(0, 0.2)
        self.guests_from_h, self.guests_for_h = rng.uniform(12, 19), rng.uniform(0.5, 5)
        self.cloud_h = rng.uniform(0.7, 2.5)

    def outdoor_c(self, hour: float) -> float:
        return self.mean_c - self.swing_c * math.cos((hour - 4.5) / 24 * 2 * math.pi)

    def gain(self, hour: float) -> float:
        """Give the heat from sun and people, as a share of the need."""
        day_hour = hour % 24
        sun = max(0.0, math.cos((day_hour - 12.5) / 9 * math.pi)) if 8 < day_hour < 17 else 0.0
        clear = 1.0 if math.sin(2 * math.pi * hour / self.cloud_h) > -0.3 else 0.3
        here = self.guests_from_h <= day_hour < self.guests_from_h + self.guests_for_h
        return self.sun * sun * clear + (self.people if here else 0.0)


class FirstOrder:
    """One node, first order, with dead time and a first-order radiator."""

    def __init__(self, rng: random.Random, valve: Callable[[float], float] = linear) -> None:
        self.around = Surroundings(rng, rng.uniform(-4, 9))
        self.tau_s = 3600 * math.exp(rng.uniform(math.log(0.5), math.log(12)))
        need_k = 22 - self.around.mean_c + self.around.swing_c
        self.need_k = need_k
        self.gain_k = need_k * math.exp(rng.uniform(math.log(1.1), math.log(5)))
        self.lag_s = 60 * rng.uniform(5, 25)
        self.delay: deque[float] = deque([0.0] * rng.randint(6, 30))
        self.valve = valve
        self.air_c, self.level_pct, self.heat, self.time_s = 16.0, 0.0, 0.0, 0.0

    def step(self, dt_s: float) -> None:
        """Advance by `dt_s` plant seconds, in steps of 10 s."""
        for _ in range(max(1, round(dt_s / 10))):
            hour = self.time_s / 3600
            self.delay.append(self.valve(self.level_pct / 100))
            self.heat += (self.delay.popleft() - self.heat) * 10 / self.lag_s
            target_c = self.around.outdoor_c(hour) + self.gain_k * self.heat + self.need_k * self.around.gain(hour)
            self.air_c += (target_c - self.air_c) * 10 / self.tau_s
            self.time_s += 10


class HotWater:
    """Air, furniture and wall nodes; a water radiator whose output follows the 1.3th power of its excess (EN 442-2)."""

    def __init__(self, rng: random.Random, valve: Callable[[float], float] = linear) -> None:
        self.around = Surroundings(rng, rng.uniform(-4, 9))
        loss_w_k = rng.uniform(20, 60)
        need_w = loss_w_k * (22 - self.around.mean_c + self.around.swing_c)
        self.need_w = need_w
        self.power_w = 1.4 * need_w * math.exp(rng.uniform(math.log(1.1), math.log(5)))
        self.loss_w_k = loss_w_k
        self.air_j_k = rng.uniform(8e4, 3e5)
        self.furniture_j_k, self.furniture_w_k = rng.uniform(2e5, 1e6), rng.uniform(50, 200)
        self.wall_j_k, self.wall_w_k = rng.uniform(2e6, 1.5e7), rng.uniform(80, 250)
        self.water_c = rng.uniform(50, 75)
        self.radiator_j_k = self.power_w / (self.water_c - 20) * 60 * rng.uniform(5, 20)
        self.valve = valve
        self.air_c = self.wood_c = self.wall_c = self.radiator_c = 16.0
        self.level_pct, self.time_s = 0.0, 0.0

    def step(self, dt_s: float) -> None:
        """Advance by `dt_s` plant seconds, in steps of 10 s."""
        for _ in range(max(1, round(dt_s / 10))):
            hour = self.time_s / 3600
            excess = max(0.0, self.radiator_c - self.air_c) / (self.water_c - 20)
            heat_w = self.power_w * excess**1.3
            flow_w_k = 4 * self.power_w / (self.water_c - 20) * self.valve(self.level_pct / 100)
            supply_w = flow_w_k * (self.water_c - self.radiator_c)
            self.radiator_c += (supply_w - heat_w) * 10 / self.radiator_j_k
            wood_w = self.furniture_w_k * (self.air_c - self.wood_c)
            wall_w = self.wall_w_k * (self.air_c - self.wall_c)
            out_w = self.loss_w_k * (self.around.outdoor_c(hour) - self.air_c)
            sun_w = self.need_w * self.around.gain(hour)
            self.air_c += (heat_w + 0.5 * sun_w + out_w - wood_w - wall_w) * 10 / self.air_j_k
            self.wood_c += wood_w * 10 / self.furniture_j_k
            self.wall_c += (wall_w + 0.5 * sun_w) * 10 / self.wall_j_k
            self.time_s += 10


class LateHeat(HotWater):
    """The hot-water room behind a pipe: changes of the valve arrive minutes later."""

    def __init__(self, rng: random.Random, valve: Callable[[float], float] = linear) -> None:
        super().__init__(rng, valve)
        self.pipe: deque[float] = deque([0.0] * rng.randint(12, 48))

    def step(self, dt_s: float) -> None:
        """Advance by `dt_s` plant seconds, in steps of 10 s."""
        wanted_pct = self.level_pct
        for _ in range(max(1, round(dt_s / 10))):
            self.pipe.append(wanted_pct)
            self.level_pct = self.pipe.popleft()
            super().step(10)
        self.level_pct = wanted_pct


FAMILIES: dict[str, Callable[[random.Random], Plant]] = {
    "first order, dead time": FirstOrder,
    "first order, quick opening": lambda rng: FirstOrder(rng, quick_opening),
    "three nodes, hot water": HotWater,
    "hot water, equal percentage": lambda rng: HotWater(rng, equal_percentage),
    "hot water, quick opening": lambda rng: HotWater(rng, quick_opening),
    "hot water, transport delay": LateHeat,
}


def foreign_room(family: str, seed: int) -> Plant:
    """Draw a room of a family; the same seed gives the same room."""
    return FAMILIES[family](random.Random(f"{family} {seed}"))
