import dataclasses

import pytest

from sim.rooms.model import DAY_S, FIXED_ROOMS, HOUR_S, LATE_ROOM, SHIPPED_ROOM, Room, RoomParameters, Spell, random_room

DARK = dataclasses.replace(SHIPPED_ROOM, sun_w=0.0, people=(), window=(), outdoor_swing_c=0.0)


def after(parameters: RoomParameters, level_pct: float, hours: float, start_c: float = 17.0) -> Room:
    room = Room(parameters, start_c=start_c)
    room.level_pct = level_pct
    room.step(hours * HOUR_S)
    return room


def test_without_heat_it_cools_towards_outdoors() -> None:
    assert after(DARK, 0, 2000).air_c == pytest.approx(DARK.outdoor_mean_c, abs=0.05)


def test_with_heat_it_settles_where_losses_equal_heat() -> None:
    room = after(DARK, 50, 2000)
    losses_w = DARK.air_loss_w_k * (room.air_c - 4) + DARK.structure_loss_w_k * (room.structure_c - 4)
    assert losses_w == pytest.approx(DARK.radiator_w / 2, rel=0.01)


def test_the_radiator_lags() -> None:
    assert after(DARK, 100, DARK.radiator_lag_s / HOUR_S).heat_pct == pytest.approx(63.2, abs=0.1)


@pytest.mark.parametrize("dt_s", [1.0, 7.0, 30.0, 60.0])
def test_heat_arrives_after_the_dead_time(dt_s: float) -> None:
    room = Room(LATE_ROOM)
    room.level_pct = 100
    while room.time_s < LATE_ROOM.dead_time_s:
        assert room.heat_pct == 0
        room.step(dt_s)
    room.step(2 * dt_s)
    assert room.heat_pct > 0


def test_all_changes_of_the_valve_arrive_in_their_order() -> None:
    room = Room(LATE_ROOM)
    supplies_pct = []
    for level_pct in (20, 100, 0, 0):
        room.level_pct = level_pct
        for _ in range(round(LATE_ROOM.dead_time_s / 120)):
            room.step(60)
            supplies_pct.append(round(room.supply_pct, 1))
    assert list(dict.fromkeys(supplies_pct)) == [0.0, 4.3, 100.0]
    assert supplies_pct[-1] == 0.0


@pytest.mark.parametrize(("level_pct", "supply_pct"), [(0, 0.0), (50, 18.3), (100, 100.0)])
def test_an_equal_percentage_valve_opens_late(level_pct: float, supply_pct: float) -> None:
    room = Room(dataclasses.replace(LATE_ROOM, dead_time_s=0.0))
    room.level_pct = level_pct
    assert room.supply_pct == pytest.approx(supply_pct, abs=0.05)


def test_every_fixed_room_has_the_power() -> None:
    for parameters in FIXED_ROOMS:
        dark = dataclasses.replace(parameters, sun_w=0.0, people=(), window=(), outdoor_swing_c=0.0)
        coldest = dataclasses.replace(dark, outdoor_mean_c=parameters.outdoor_mean_c - parameters.outdoor_swing_c)
        assert after(coldest, 100, 100).air_c > 23


@pytest.mark.parametrize("dt_s", [1.0, 10.0, 30.0, 60.0, 3600.0])
def test_step_size_hardly_changes_the_result(dt_s: float) -> None:
    room = Room(DARK)
    room.level_pct = 60
    for _ in range(round(6 * HOUR_S / dt_s)):
        room.step(dt_s)
    assert room.air_c == pytest.approx(after(DARK, 60, 6).air_c, abs=0.02)
    assert room.time_s == pytest.approx(6 * HOUR_S)


def test_a_step_of_zero_changes_nothing() -> None:
    room = Room(SHIPPED_ROOM)
    room.step(0.0)
    assert (room.air_c, room.time_s) == (17.0, 0.0)


@pytest.mark.parametrize(("hour", "outdoor_c"), [(4, 0.0), (10, 4.0), (16, 8.0), (22, 4.0), (28, 0.0)])
def test_the_day_is_coldest_at_four_and_warmest_at_sixteen(hour: float, outdoor_c: float) -> None:
    assert Room(SHIPPED_ROOM, time_s=hour * HOUR_S).outdoor_c == pytest.approx(outdoor_c)


@pytest.mark.parametrize(
    ("hour", "shines"), [(7.9, False), (8.1, True), (12.5, True), (16.9, True), (17.1, False), (36.5, True)]
)
def test_the_sun_shines_by_day(hour: float, shines: bool) -> None:
    assert (Room(SHIPPED_ROOM, time_s=hour * HOUR_S).sun_w > 0) is shines


@pytest.mark.parametrize(("time_s", "amount"), [(99.9, 0.0), (100.0, 2.0), (199.9, 2.0), (200.0, 0.0)])
def test_a_spell_has_a_start_and_an_end(time_s: float, amount: float) -> None:
    assert Spell(100.0, 200.0, 2.0).amount_at(time_s) == amount


def test_an_open_window_cools_fast() -> None:
    opened = dataclasses.replace(DARK, window=(Spell(0.0, 1800.0, 100.0),))
    assert after(opened, 0, 0.25, 22.0).air_c < after(DARK, 0, 0.25, 22.0).air_c - 1


def test_people_warm_the_room() -> None:
    visited = dataclasses.replace(DARK, people=(Spell(0.0, DAY_S, 2.0),))
    assert after(visited, 0, 1).air_c > after(DARK, 0, 1).air_c + 0.2


def test_the_same_seed_gives_the_same_day() -> None:
    assert random_room(7) == random_room(7)
    assert random_room(7) != random_room(8)
    first, second, other = (Room(SHIPPED_ROOM, seed) for seed in (1, 1, 2))
    for room in (first, second, other):
        room.step(DAY_S)
    assert first.air_c == second.air_c != other.air_c


def test_rooms_differ_as_much_as_the_spec_says() -> None:
    rooms = [random_room(seed) for seed in range(200)]
    lags = [each.radiator_lag_s for each in rooms]
    spare = [each.radiator_w / (each.air_loss_w_k + each.structure_loss_w_k) / (22 - each.outdoor_mean_c) for each in rooms]
    assert 300 <= min(lags) < 400 < 1400 < max(lags) <= 1500
    assert max(spare) / min(spare) > 4
