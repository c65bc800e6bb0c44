"""Figures of rooms that answer late, on the reported seeds, with the targets of the spec."""

import statistics
from collections.abc import Sequence

from tests.bench.late import HEADER, IDEAL, grouped, play_all, row, tenth, travel_95
from tests.bench.late_day import LateDay
from tests.bench.late_rooms import REPORTED_SEEDS, late_room

ROOMS = 200
LAWS = ("two-point", "fixed PI", IDEAL, "shipped")
LEAST_WORST_PCT, LEAST_TENTH_PCT, LEAST_MEDIAN_PCT = 85.0, 95.0, 98.5
HIGHEST_OVERSHOOT_C = 1.0
MOST_TRAVEL = 1 / 3
MOST_BELOW_PI_PCT = 2.0
WORST = 8


def compare() -> list[str]:
    """Print the table by valve, dead time and sensors, and give the targets that were missed."""
    by_law = {}
    for law in LAWS:
        print(f"{law}: {ROOMS} rooms …", flush=True)
        by_law[law] = {each.seed: each for each in play_all(law, REPORTED_SEEDS, ROOMS)}
    two_point, pi, ideal, shipped = (by_law[law] for law in LAWS)
    print(HEADER)
    for group, members in grouped(list(shipped.values())).items():
        for law, days in by_law.items():
            print(row(group, law, [days[each.seed] for each in members], two_point), flush=True)
    unreachable = [seed for seed, day in ideal.items() if day.in_band_pct < LEAST_WORST_PCT]
    _describe("the ideal controller reaches least in", ideal, ideal, shipped)
    _describe("the shipped law reaches least in", shipped, ideal, shipped)
    return _missed([each for each in shipped.values() if each.seed not in unreachable], pi, two_point)


def _describe(title: str, order: dict[int, LateDay], ideal: dict[int, LateDay], shipped: dict[int, LateDay]) -> None:
    print(f"{title}:")
    for seed in sorted(order, key=lambda each: order[each].in_band_pct)[:WORST]:
        shares = f"ideal {ideal[seed].in_band_pct:.1f} %, shipped {shipped[seed].in_band_pct:.1f} %"
        print(f"  {seed}: {shares}: {late_room(seed).describe()}")


def _missed(days: Sequence[LateDay], pi: dict[int, LateDay], two_point: dict[int, LateDay]) -> list[str]:
    shares = [each.in_band_pct for each in days]
    overshoot_c, travel = max(each.overshoot_c for each in days), travel_95(days, two_point)
    below = {each.seed: pi[each.seed].in_band_pct - each.in_band_pct for each in days}
    hunted = [seed for seed, pct in below.items() if pct > MOST_BELOW_PI_PCT]
    checks = {
        f"worst in band {min(shares):.1f} % < {LEAST_WORST_PCT:g} %": min(shares) >= LEAST_WORST_PCT,
        f"p10 in band {tenth(shares):.1f} % < {LEAST_TENTH_PCT:g} %": tenth(shares) >= LEAST_TENTH_PCT,
        f"median in band {statistics.median(shares):.1f} % < {LEAST_MEDIAN_PCT:g} %": statistics.median(shares)
        >= LEAST_MEDIAN_PCT,
        f"overshoot {overshoot_c:.2f} K ≥ {HIGHEST_OVERSHOOT_C:g} K": overshoot_c < HIGHEST_OVERSHOOT_C,
        f"travel {travel:.2f} > 1/3 of two-point": travel <= MOST_TRAVEL,
        f"{len(hunted)} rooms below the fixed PI by more than {MOST_BELOW_PI_PCT:g} points: {hunted[:WORST]}": not hunted,
    }
    return [f"rooms that answer late: {text}" for text, met in checks.items() if not met]
