import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.ships.model import METERS, Leg, Meter, Ship, ShipParameters, random_ship

DAY_S = 86_400
START_S = 1_535_068_800.0  # 2018-08-24T00:00:00Z
QUIET = ShipParameters(noise=0.0)


@pytest.mark.parametrize("meter", METERS)
def test_a_day_has_as_many_readings_as_intervals(meter: Meter) -> None:
    readings = Ship(ShipParameters(), meter, START_S).step(DAY_S)
    assert [at_s for at_s, _ in readings] == [int(START_S) + n * meter.interval_s for n in range(DAY_S // meter.interval_s)]


def test_all_meters_read_the_same_energy() -> None:
    of_hours, of_power, of_quarters = (sum(value for _, value in Ship(QUIET, each, START_S).step(DAY_S)) for each in METERS)
    assert of_power * 300 / 3600 == pytest.approx(of_hours, abs=0.1)
    assert of_quarters == pytest.approx(of_hours, abs=0.1)


@pytest.mark.parametrize(("late_s", "first_s"), [(0.0, 0), (0.5, 300), (299.0, 300), (300.0, 300)])
def test_readings_start_with_a_whole_interval(late_s: float, first_s: int) -> None:
    assert Ship(QUIET, METERS[1], START_S + late_s).step(3600)[0][0] == START_S + first_s


@pytest.mark.parametrize(("hour", "under_way"), [(3, False), (5.9, False), (7, True), (10, False), (12, True), (22, False)])
def test_the_load_follows_the_timetable(hour: float, under_way: bool) -> None:
    ship = Ship(QUIET, METERS[0], START_S)
    assert (ship.load_kw(START_S + hour * 3600) > 200) is under_way


def test_the_hotel_load_is_highest_in_the_evening() -> None:
    ship = Ship(ShipParameters(legs=()), METERS[0], START_S)
    assert ship.load_kw(START_S + 19 * 3600) == pytest.approx(95)
    assert ship.load_kw(START_S + 7 * 3600) == pytest.approx(55)


def test_power_ramps_at_both_ends_of_a_leg() -> None:
    ship = Ship(ShipParameters(legs=(Leg(3600, 7200),), hotel_swing_kw=0.0), METERS[0], START_S)
    at = [ship.load_kw(START_S + 3600 + s) for s in (0, 450, 900, 1800, 2700, 3150, 3600)]
    assert at == pytest.approx([75, 187.5, 300, 300, 300, 187.5, 75])


@given(st.lists(st.floats(0, 4000), max_size=20), st.integers(0, 2))
def test_step_size_does_not_change_the_readings(steps: list[float], meter: int) -> None:
    cut, whole = (Ship(ShipParameters(), METERS[meter], START_S, seed=7) for _ in range(2))
    found = [each for dt_s in steps for each in cut.step(dt_s)]
    assert found == whole.step(cut.now_s - START_S)


def test_ships_differ_and_are_reproducible() -> None:
    assert random_ship(1) == random_ship(1)
    assert random_ship(1) != random_ship(2)
    for seed in range(200):
        legs = random_ship(seed).legs
        assert legs
        assert all(a.end_s < b.begin_s for a, b in itertools.pairwise(legs))
        assert legs[-1].end_s <= DAY_S
