"""Compare control laws over the same rooms: `python -m tests.bench.heating`. Exit 1 where a target of the spec is missed.

Every run is a plant day from a cold start at midnight. In the earlier rooms, five sensors of random offset and noise
report every minute; `tests/bench/late_rooms.py` describes those that answer late.
`python -m tests.bench.heating earlier` runs one part, and `quick` the shipped law in the earlier rooms only.
"""

import functools
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.pool import Pool

from sim.rooms.model import SHIPPED_ROOM, Room, random_room
from sim.rooms.sensors import Fault, Sensor, random_sensors
from tests.bench import heating_late, heating_rate
from tests.bench.late import report_users
from tests.bench.late_rooms import REPORTED_SEEDS
from tests.bench.laws import SETPOINT_C, FixedPi, Law, Proportional, Shipped, TwoPoint
from tests.bench.plants import FAMILIES, Plant, foreign_room

MINUTES = 24 * 60
SETTLED_MINUTE = 3 * 60
MORNING_MINUTE = 6 * 60
BAND_C = 0.5
FAMILY_ROOMS = 50
FOREIGN_SEEDS = range(700, 712)
"""Rooms on which no constant of the law was chosen: those were numbers 0 to 11."""
BEFORE_LATE_ROOMS: dict[str, tuple[tuple[float, float], ...]] = {
    "shipped room": ((99.0, 99.0), (98.3, 98.3), (99.0, 99.0), (99.0, 99.0)),
    "family of 50": ((94.6, 99.8), (94.6, 99.4), (94.6, 99.8), (94.8, 99.6)),
    "first order, dead time": ((87.8, 97.1), (87.6, 97.7), (87.9, 97.3), (87.8, 96.8)),
    "first order, quick opening": ((91.0, 100.0), (90.8, 99.5), (91.2, 99.5), (89.5, 99.5)),
    "three nodes, hot water": ((100.0, 100.0), (100.0, 100.0), (100.0, 100.0), (100.0, 100.0)),
    "hot water, equal percentage": ((100.0, 100.0), (100.0, 100.0), (100.0, 100.0), (100.0, 100.0)),
    "hot water, quick opening": ((100.0, 100.0), (100.0, 100.0), (100.0, 100.0), (100.0, 100.0)),
    "hot water, transport delay": ((99.1, 100.0), (100.0, 100.0), (99.8, 100.0), (100.0, 100.0)),
}
"""Share of time in band, worst and median in percent, of the law of decision 3, for each of `FAULTS`."""
MOST_WORSE_PCT = 0.5
USERS_ROOMS = 40
LAWS: dict[str, Callable[[], Law]] = {
    "two-point": TwoPoint,
    "proportional": Proportional,
    "fixed PI": FixedPi,
    "shipped": Shipped,
}
FAULTS: dict[str, tuple[Fault, ...]] = {
    "no fault": (),
    "stuck + drift": (Fault.STUCK, Fault.DRIFT),
    "silent + spike": (Fault.SILENT, Fault.SPIKE),
    "3 of 5 faulty": (Fault.STUCK, Fault.SPIKE, Fault.DRIFT),
}


@dataclass(frozen=True, slots=True)
class Day:
    """The results of one room on one day."""

    in_band: float
    """Share of the time after the first three hours with the true temperature within ±0.5 K."""
    rms_c: float
    """After the first three hours, K."""
    overshoot_c: float
    """Above the setpoint between the start and the morning, K; before sun and people."""
    travel_pct: int
    """Sum of all valve movements."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rooms that are judged together: a name, and factories of those with the power to reach the setpoint."""

    name: str
    rooms: tuple[Callable[[], Plant], ...]
    powerless: int


def play(room: Plant, law: Law, seed: int, faults: tuple[Fault, ...]) -> Day:
    """Run one day."""
    sensors = [Sensor(each, seed) for each in random_sensors(seed, faults)]
    temperatures: list[float] = []
    travel_pct = 0
    for minute in range(1, MINUTES + 1):
        room.step(60.0)
        temperatures.append(room.air_c)
        level = law.level(_read(sensors, room.air_c), minute * 60.0)
        travel_pct += abs(level - round(room.level_pct))
        room.level_pct = level
    errors_c = [each - SETPOINT_C for each in temperatures]
    settled_c = errors_c[SETTLED_MINUTE:]
    return Day(
        in_band=sum(abs(each) <= BAND_C for each in settled_c) / len(settled_c),
        rms_c=statistics.fmean(each**2 for each in settled_c) ** 0.5,
        overshoot_c=max(errors_c[:MORNING_MINUTE]),
        travel_pct=travel_pct,
    )


def _read(sensors: Sequence[Sensor], room_c: float) -> dict[str, float]:
    readings = {}
    for sensor in sensors:
        sensor.step(60.0)
        if (value_c := sensor.read(room_c)) is not None:
            readings[sensor.parameters.name] = value_c
    return readings


def has_power(room: Plant) -> bool:
    """Return whether full heat keeps the room at the setpoint or above for 97 % of the time after three hours."""
    room.level_pct = 100
    warm = 0
    for minute in range(MINUTES):
        room.step(60.0)
        warm += minute >= SETTLED_MINUTE and room.air_c >= SETPOINT_C
    return warm >= 0.97 * (MINUTES - SETTLED_MINUTE)


def groups(pool: Pool) -> list[Group]:
    """Give the rooms of the bench."""
    rooms: dict[str, list[Callable[[], Plant]]] = {"shipped room": [functools.partial(Room, SHIPPED_ROOM)]}
    rooms["family of 50"] = [functools.partial(Room, random_room(seed), seed) for seed in range(FAMILY_ROOMS)]
    for family in FAMILIES:
        rooms[family] = [functools.partial(foreign_room, family, seed) for seed in FOREIGN_SEEDS]
    return [_group(name, makers, pool) for name, makers in rooms.items()]


def _group(name: str, makers: list[Callable[[], Plant]], pool: Pool) -> Group:
    able = tuple(make for make, enough in zip(makers, pool.map(_makes_power, makers), strict=True) if enough)
    return Group(name, able, len(makers) - len(able))


def _makes_power(make: Callable[[], Plant]) -> bool:
    return has_power(make())


def report(group: Group, law: str, faults: str, pool: Pool) -> list[Day]:
    """Run a law over a group and give the days."""
    return pool.starmap(_play, [(make, law, seed, faults) for seed, make in enumerate(group.rooms)], chunksize=1)


def _play(make: Callable[[], Plant], law: str, seed: int, faults: str) -> Day:
    return play(make(), LAWS[law](), seed, FAULTS[faults])


def row(group: Group, label: str, days: list[Day], two_point: list[Day]) -> str:
    """Format one row of the table."""
    shares = [100 * each.in_band for each in days]
    errors_c = [each.rms_c for each in days]
    travel = sum(each.travel_pct for each in days) / sum(each.travel_pct for each in two_point)
    return (
        f"{group.name:28}{label:16}{min(shares):7.1f}{statistics.median(shares):7.1f}{max(errors_c):8.2f}"
        f"{statistics.median(errors_c):7.2f}{max(each.overshoot_c for each in days):8.2f}{travel:8.2f}"
    )


HEADER = f"{'rooms':28}{'law, fault':16}{'in band %':>14}{'RMS K':>15}{'over':>8}{'travel':>8}\n" + (
    f"{'':44}{'worst':>7}{'median':>7}{'worst':>8}{'median':>7}{'max K':>8}{'ratio':>8}"
)


def compare() -> list[str]:
    """Print the table of the earlier rooms, and give the targets that were missed."""
    missed: list[str] = []
    print(HEADER, flush=True)
    with multiprocessing.Pool() as pool:
        for group in groups(pool):
            by_law = {law: report(group, law, "no fault", pool) for law in LAWS}
            for law, days in by_law.items():
                print(row(group, law, days, by_law["two-point"]), flush=True)
            for faults in FAULTS:
                days = by_law["shipped"] if faults == "no fault" else report(group, "shipped", faults, pool)
                if faults != "no fault":
                    print(row(group, f"  {faults}", days, by_law["two-point"]), flush=True)
                missed += verdict(group.name, faults, days, by_law["two-point"])
                missed += _worse_than_before(group.name, faults, days)
            print(f"{'':28}{len(group.rooms)} rooms, and {group.powerless} that lack the power to reach {SETPOINT_C:g} °C")
    return missed


def check_shipped() -> list[str]:
    """Print the shipped law without faults in the earlier rooms, and give the targets that were missed: to see them quickly."""
    missed: list[str] = []
    print(HEADER, flush=True)
    with multiprocessing.Pool() as pool:
        for group in groups(pool):
            days, two_point = report(group, "shipped", "no fault", pool), report(group, "two-point", "no fault", pool)
            print(row(group, "shipped", days, two_point), flush=True)
            missed += verdict(group.name, "no fault", days, two_point) + _worse_than_before(group.name, "no fault", days)
    return missed


def _worse_than_before(group: str, faults: str, days: list[Day]) -> list[str]:
    """Compare worst and median with those of the law before rooms that answer late."""
    shares = [100 * each.in_band for each in days]
    found = {"worst": min(shares), "median": statistics.median(shares)}
    before = dict(zip(found, BEFORE_LATE_ROOMS[group][list(FAULTS).index(faults)], strict=True))
    return [
        f"{group}, {faults}: {name} in band {share:.1f} %, before {before[name]:.1f} %"
        for name, share in found.items()
        if share < before[name] - MOST_WORSE_PCT - 0.05  # both are rounded
    ]


def verdict(group: str, faults: str, days: list[Day], two_point: list[Day]) -> list[str]:
    """Compare the days with the targets of the spec, which name the shipped room and the family."""
    least = {"shipped room": 0.97, "family of 50": 0.90}.get(group)
    if least is None:
        return []
    travel = sum(each.travel_pct for each in days) / sum(each.travel_pct for each in two_point)
    checks = {
        f"in band {min(each.in_band for each in days):.3f} < {least}": min(each.in_band for each in days) >= least,
        "RMS ≥ 0.25 K": group != "shipped room" or max(each.rms_c for each in days) < 0.25,
        "overshoot ≥ 1 K": max(each.overshoot_c for each in days) < 1,
        f"travel {travel:.2f} > 1/3": travel <= 1 / 3,
    }
    return [f"{group}, {faults}: {text}" for text, met in checks.items() if not met]


PARTS: dict[str, Callable[[], list[str]]] = {
    "earlier": compare,
    "late": heating_late.compare,
    "users": lambda: report_users(REPORTED_SEEDS, USERS_ROOMS),
    "rate": heating_rate.measure,
}
"""Each prints its figures and gives the targets that were missed."""


def main() -> int:
    """Run the bench, or the parts that the command line names."""
    missed: list[str] = []
    for name in sys.argv[1:] or PARTS:
        began = time.perf_counter()
        missed += (check_shipped if name == "quick" else PARTS[name])()
        print(f"{name}: {time.perf_counter() - began:.0f} s\n", flush=True)
    for each in missed:
        print(f"MISSED {each}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
