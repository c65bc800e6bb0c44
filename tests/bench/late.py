"""Run a law on rooms that answer late: `python -m tests.bench.late -n 80 --worst 5`. For tuning: short and quick.

`--users` plays the scenarios of `tests.bench.heating_users` instead.

Only tuning seeds, on both cores; `tests.bench.heating` reports others.
"""

import argparse
import functools
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Sequence

from tests.bench import heating_users
from tests.bench.late_day import MINUTES, SIMPLE, LateDay, has_power, make, play, summary, trace
from tests.bench.late_ideal import play_ideal
from tests.bench.late_rooms import MODES, TUNING_SEEDS, VALVES, late_room

IDEAL = "ideal"


def play_all(
    law: str, seeds: Sequence[int], rooms: int, processes: int | None = None, *, irregular: bool = False
) -> list[LateDay]:
    """Run a law on the first `rooms` rooms of the seeds that have the power, on all cores."""
    days: list[LateDay] = []
    run: Callable[[int], LateDay | None] = play_ideal if law == IDEAL else functools.partial(play, law, irregular)
    with multiprocessing.Pool(processes) as pool:
        for day in pool.imap(run, seeds, chunksize=2):
            if day is not None:
                days.append(day)
            if sys.stderr.isatty():
                print(f"\r{law}: {len(days)}/{rooms} rooms ", end="\r", file=sys.stderr)
            if len(days) == rooms:
                break
        pool.terminate()
    return days


def grouped(days: Sequence[LateDay]) -> dict[str, list[LateDay]]:
    """Sort the days by valve, dead time, sensors and speed of the room; `all` comes first."""
    groups: dict[str, list[LateDay]] = {"all": list(days)}
    groups |= {name: [] for name in (*VALVES, "dead 2-8 min", "dead 8-15 min", "dead 15-25 min", *MODES)}
    for day in days:
        room = late_room(day.seed)
        for name in (room.valve, room.delay_class, room.sensors):
            groups[name].append(day)
    return {name: members for name, members in groups.items() if members}


def tenth(values: Sequence[float]) -> float:
    """Return the value that a tenth of the values lies below."""
    return sorted(values)[len(values) // 10]


def travel_95(days: Sequence[LateDay], two_point: dict[int, LateDay]) -> float:
    """Return the 95th percentile of the valve travel as a ratio to two-point control of the same room."""
    ratios = sorted(each.travel_pct / max(1, two_point[each.seed].travel_pct) for each in days)
    return ratios[min(len(ratios) - 1, int(0.95 * len(ratios)))]


HEADER = f"{'rooms':26}{'law':12}{'n':>4}{'worst':>7}{'p10':>7}{'median':>8}{'mean':>7}{'over K':>8}{'travel':>8}"


def row(group: str, law: str, days: Sequence[LateDay], two_point: dict[int, LateDay]) -> str:
    """Format one row: shares in band, percent; largest overshoot, K; travel ratio, 95th percentile."""
    shares = [each.in_band_pct for each in days]
    return (
        f"{group:26}{law:12}{len(days):4}{min(shares):7.1f}{tenth(shares):7.1f}{statistics.median(shares):8.1f}"
        f"{statistics.fmean(shares):7.1f}{max(each.overshoot_c for each in days):8.2f}{travel_95(days, two_point):8.2f}"
    )


def play_users(scenario: str, seed: int) -> tuple[int, dict[str, float]] | None:
    """Play a scenario in the room of a seed; None if the room lacks the power."""
    room = late_room(seed)
    return (seed, heating_users.SCENARIOS[scenario](room)) if has_power(room) else None


def report_users(seeds: Sequence[int], rooms: int) -> list[str]:
    """Play every scenario in the first `rooms` rooms with the power, print the figures, and give those that are wrong."""
    wrong: list[str] = []
    print(f"{'scenario, figure':36}{'limits':>12}{'lowest':>9}{'median':>9}{'highest':>9}{'wrong':>7}")
    with multiprocessing.Pool() as pool:
        for scenario, limits in heating_users.LIMITS.items():
            found = pool.imap(functools.partial(play_users, scenario), seeds[: rooms + rooms // 5])
            played = [each for each in found if each is not None][:rooms]
            for name, (low, high) in limits.items():
                values = {seed: figures[name] for seed, figures in played}
                outside = {seed: value for seed, value in values.items() if not low <= value <= high}
                cells = "".join(f"{each:9.2f}" for each in (min(values.values()), statistics.median(values.values())))
                label, bounds = f"{scenario}: {name}", f"{low:g}..{high:g}"
                print(f"{label:36}{bounds:>12}{cells}{max(values.values()):9.2f}{len(outside):7}", flush=True)
                if outside:
                    rooms_named = ", ".join(f"{seed} ({value:.2f})" for seed, value in list(outside.items())[:5])
                    wrong.append(f"{label} not {bounds} in {len(outside)} of {len(values)} rooms, such as {rooms_named}")
    return wrong


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Run a law on tuning rooms that answer late.")
    parser.add_argument("-n", "--rooms", type=int, default=60)
    parser.add_argument("--skip", type=int, default=0, help="start at this tuning seed")
    parser.add_argument("--sensors", choices=MODES, help="rooms whose sensors report so")
    parser.add_argument("--law", default="shipped", help="a law of the bench, `ideal`, or module:Class")
    parser.add_argument("--worst", type=int, default=6, help="rooms to describe")
    parser.add_argument("--seed", type=int, help="play this room only, and print it every ten minutes")
    parser.add_argument("--pi", action="store_true", help="also name rooms below the fixed PI by 2 points")
    parser.add_argument("--irregular", action="store_true", help="decide up to half a minute early or late")
    parser.add_argument("--users", action="store_true", help="play what users report, with the shipped law")
    chosen = parser.parse_args()
    if chosen.users:
        wrong = report_users(TUNING_SEEDS[chosen.skip :], chosen.rooms)
        print("\n".join(wrong[: chosen.worst]))
        return 0
    if chosen.seed is not None:
        return _show(chosen.seed, chosen.law)
    began = time.perf_counter()
    seeds = [each for each in TUNING_SEEDS[chosen.skip :] if chosen.sensors in (None, late_room(each).sensors)]
    two_point = {each.seed: each for each in play_all("two-point", seeds, chosen.rooms)}
    days = play_all(chosen.law, seeds, chosen.rooms, irregular=chosen.irregular)
    print(HEADER)
    for group, members in grouped(days).items():
        print(row(group, chosen.law[-11:], members, two_point))
    _describe_worst(days, two_point, chosen.worst)
    if chosen.pi:
        better = {each.seed: each for each in play_all("fixed PI", seeds, chosen.rooms)}
        below = [each for each in days if each.in_band_pct < better[each.seed].in_band_pct - 2]
        print(f"below the fixed PI by 2 points: {[(each.seed, round(each.in_band_pct)) for each in below]}")
    print(f"{time.perf_counter() - began:.0f} s")
    return 0


def _describe_worst(days: Sequence[LateDay], two_point: dict[int, LateDay], count: int) -> None:
    over, busy = sum(each.overshoot_c >= 1 for each in days), 0
    for each in days:
        busy += each.travel_pct > two_point[each.seed].travel_pct / 3
    print(f"overshoot ≥ 1 K: {over}, travel > 1/3: {busy}, in band < 85 %: {sum(each.in_band_pct < 85 for each in days)}")
    for each in sorted(days, key=lambda day: day.in_band_pct)[:count]:
        ratio = each.travel_pct / max(1, two_point[each.seed].travel_pct)
        figures = f"{each.in_band_pct:.0f} %, over {each.overshoot_c:.1f} K, rms {each.rms_c:.2f} K, travel {ratio:.2f}"
        ideal = play_ideal(each.seed)
        best = f"{ideal.in_band_pct:.0f} %" if ideal else "–"
        print(f"  {each.seed}: {figures}, ideal {best}: {late_room(each.seed).describe()}")


def _show(seed: int, law: str) -> int:
    room = late_room(seed)
    day = trace(room, make(law), simple=law in SIMPLE)
    print(room.describe(), f"power: {has_power(room)}")
    for minute in range(0, MINUTES, 10):
        level, air_c = day.levels[minute], day.temperatures_c[minute]
        print(f"{minute // 60:02}:{minute % 60:02} {air_c:6.2f} °C {level:4} %  {'#' * (level // 3)}")
    print(summary(seed, day))
    return 0


if __name__ == "__main__":
    sys.exit(main())
