"""The rooms that the heating law is judged by are what they claim to be."""

from dataclasses import replace
from itertools import pairwise

import pytest

from tests.bench.late_day import has_power
from tests.bench.late_ideal import play_ideal
from tests.bench.late_rooms import (
    HOUR_S,
    MODES,
    REPORTED_SEEDS,
    TUNING_SEEDS,
    VALVES,
    Late,
    late_room,
    late_sensors,
    valve_curve,
)


def still(seed: int) -> Late:
    room = replace(late_room(seed), sun_w=0, people_w=0, window_w_k=0, outdoor_swing_c=0)
    return Late(replace(room, start_c=room.outdoor_mean_c))


def test_no_seed_is_both_for_tuning_and_for_the_report() -> None:
    assert not set(TUNING_SEEDS) & set(REPORTED_SEEDS)


def test_the_family_covers_what_the_spec_names() -> None:
    rooms = [late_room(seed) for seed in TUNING_SEEDS[:400]]
    ranges = {
        "dead time, min": ([each.dead_s / 60 for each in rooms], 2, 25),
        "lag, min": ([each.radiator_lag_s / 60 for each in rooms], 4, 12),
        "oversize": ([each.oversize for each in rooms], 1.3, 4),
        "rangeability": ([each.valve_strength for each in rooms if each.valve.startswith("equal")], 4, 50),
        "slowest, h": ([each.slowest_s / HOUR_S for each in rooms], 0.5, 20),
    }
    for name, (values, low, high) in ranges.items():
        assert low <= min(values) < low * 1.1, name
        assert high * 0.9 < max(values) <= high, name
    assert {each.valve for each in rooms} == set(VALVES)
    assert {each.sensors for each in rooms} == set(MODES)
    assert 0.1 < sum(bool(each.window_w_k) for each in rooms) / len(rooms) < 0.4


@pytest.mark.parametrize("seed", TUNING_SEEDS[:5])
def test_the_slowest_time_constant_is_the_one_claimed(seed: int) -> None:
    plant = still(seed)
    plant.air_c = plant.wall_c = plant.floor_c = 100.0
    plant.step(3 * plant.room.slowest_s)
    before_c = plant.air_c - plant.room.outdoor_mean_c
    plant.step(plant.room.slowest_s)
    assert (plant.air_c - plant.room.outdoor_mean_c) / before_c == pytest.approx(0.368, abs=0.02)


@pytest.mark.parametrize("seed", TUNING_SEEDS[:5])
def test_heat_arrives_after_the_dead_time(seed: int) -> None:
    plant = still(seed)
    plant.level_pct = 100
    for _ in range(int(plant.room.dead_s // 60)):
        plant.step(60)
        assert plant.heat == 0
    plant.step(120)
    assert plant.heat > 0


@pytest.mark.parametrize("kind", VALVES)
def test_every_valve_closes_opens_and_rises(kind: str) -> None:
    shares = [valve_curve(kind, 10)(level / 100) for level in range(101)]
    assert shares[0] == 0
    assert shares[-1] == pytest.approx(1)
    assert all(after > before for before, after in pairwise(shares))


def test_a_sensor_that_reports_changes_is_silent_in_a_quiet_room() -> None:
    room = replace(late_room(1000), sensors="on change", faults=())
    readings = [[each.read(22.0, minute) for minute in range(600)] for each in late_sensors(room)]
    assert all(sum(value is not None for value in each) <= 10 for each in readings)


def test_the_ideal_controller_holds_what_can_be_held() -> None:
    days = [day for seed in (1002, 1009, 1012) if (day := play_ideal(seed))]
    assert [has_power(late_room(day.seed)) for day in days] == [True] * 3
    assert all(day.in_band_pct > 94 and day.overshoot_c < 0.3 for day in days)
