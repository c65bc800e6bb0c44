import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controllers.heating.model import Identified
from controllers.heating.modes import Alarm, Mode
from controllers.heating.room import Decision, RoomControl

KNOWN = Identified(rate_c_h=10.0, radiator_lag_s=660.0, transport_s=60.0, hold_pct=40.0)


def minutes(room: RoomControl, start: int, count: int, temperature_c: float | None, wiggle_c: float = 0.02) -> list[Decision]:
    """Let minutes pass with one temperature from three sensors; None is silence."""
    decisions = []
    for minute in range(start, start + count):
        if temperature_c is not None:
            for index in range(3):
                room.read(f"s{index}", round(temperature_c + wiggle_c * ((minute * 7 + index * 3) % 5 - 2), 2), minute * 60.0)
        decisions.append(room.decide(minute * 60.0))
    return decisions


def test_a_cold_room_is_heated_softly_first_then_fully() -> None:
    decisions = minutes(RoomControl(0.0), 1, 120, 15.0)
    assert {each.level for each in decisions[:19]} == {25}
    assert 60 <= max(each.level for each in decisions[:60]) < 100
    assert decisions[-1].level == 100
    assert decisions[-1].mode is Mode.HEATING


def test_a_warm_room_is_not_heated() -> None:
    assert {each.level for each in minutes(RoomControl(0.0), 1, 60, 25.0)} == {0}


def test_restart_is_bumpless() -> None:
    room = RoomControl(0.0)
    room.restore(40, KNOWN)
    assert {each.level for each in minutes(room, 1, 5, 22.0, wiggle_c=0.0)} == {40}


def test_restoring_has_no_effect_after_the_first_decision() -> None:
    room = RoomControl(0.0)
    minutes(room, 1, 2, 25.0)
    room.restore(80, KNOWN)
    assert room.level == 0


def test_without_sensors_it_holds_then_is_safe_then_recovers() -> None:
    room = RoomControl(0.0)
    room.restore(70, Identified(rate_c_h=10.0, radiator_lag_s=660.0, transport_s=60.0, hold_pct=70.0))
    before = minutes(room, 1, 30, 22.0)[-1]
    silent = minutes(room, 31, 60, None)
    assert [each.mode for each in silent[:5]] == [Mode.HEATING] * 5
    assert {each.mode for each in silent[5:23]} == {Mode.HOLDING}
    assert {each.level for each in silent[6:23]} == {silent[5].level}
    assert abs(silent[5].level - before.level) <= 10
    assert {(each.mode, each.level, each.alarms) for each in silent[29:]} == {(Mode.SAFE, 30, (Alarm.NO_SENSOR,))}
    assert minutes(room, 91, 2, 22.0)[-1].mode is Mode.HEATING


def test_safe_after_a_restart_without_any_sensor() -> None:
    room = RoomControl(0.0)
    room.restore(90, KNOWN)
    decisions = minutes(room, 1, 30, None)
    assert decisions[0].level == 90
    assert (decisions[-1].mode, decisions[-1].level) == (Mode.SAFE, 30)


@pytest.mark.parametrize(("room_c", "mode"), [(6.99, Mode.FROST), (7.0, Mode.HEATING)])
def test_frost_protection_at_a_low_setpoint(room_c: float, mode: Mode) -> None:
    room = RoomControl(0.0, setpoint_c=5.0)
    decision = minutes(room, 1, 1, room_c, wiggle_c=0.0)[-1]
    assert decision.mode is mode
    assert (decision.level >= 30) is (mode is Mode.FROST)


def test_frost_protection_ends_half_a_kelvin_higher() -> None:
    room = RoomControl(0.0, setpoint_c=5.0)
    minutes(room, 1, 5, 6.5)
    assert minutes(room, 6, 5, 7.3)[-1].mode is Mode.FROST
    assert minutes(room, 11, 10, 7.8)[-1].mode is Mode.HEATING


def test_frost_protection_overrides_an_open_window() -> None:
    room = RoomControl(0.0)
    minutes(room, 1, 90, 22.0)
    modes = [minutes(room, minute, 1, max(4.0, 22.0 - 1.0 * (minute - 90)))[-1] for minute in range(91, 111)]
    assert Mode.WINDOW_OPEN in {each.mode for each in modes}
    assert {each.level for each in modes if each.mode is Mode.WINDOW_OPEN} == {0}
    assert modes[-1].mode is Mode.FROST
    assert modes[-1].level >= 50


def test_an_open_window_closes_the_valve_for_a_bounded_time() -> None:
    room = RoomControl(0.0)
    minutes(room, 1, 90, 22.0)
    decisions = [minutes(room, minute, 1, 22.0 - 0.4 * min(10, minute - 90))[-1] for minute in range(91, 131)]
    closed = [each for each in decisions if each.mode is Mode.WINDOW_OPEN]
    assert 5 <= len(closed) <= 21
    assert {each.level for each in closed} == {0}
    assert decisions[-1].mode is Mode.HEATING
    assert decisions[-1].level > 25


@settings(max_examples=25)
@example(20.75, 1, 18, 0.1)
@given(st.floats(-15, 21), st.integers(1, 5), st.integers(0, 90), st.sampled_from([1.0, 0.5, 0.1, 0.01]))
def test_never_full_heat_on_stuck_cold_readings(stuck_c: float, sensors: int, alive_minutes: int, resolution_c: float) -> None:
    room = RoomControl(0.0)
    minutes(room, 1, alive_minutes, 22.0)
    frozen_c = round(round(stuck_c / resolution_c) * resolution_c, 2)
    levels = []
    for minute in range(alive_minutes + 1, alive_minutes + 181):
        for index in range(sensors):
            room.read(f"s{index}", frozen_c, minute * 60.0)
        levels.append(room.decide(minute * 60.0).level)
    assert max(levels[25:]) <= 60
    assert max(levels[165:]) <= 30


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(-1e9, 1e9), st.floats(0, 3000), st.floats(5, 35)), min_size=1, max_size=60
    )
)
def test_no_history_breaks_a_room(history: list[tuple[str, float, float, float]]) -> None:
    room, now_s = RoomControl(0.0), 0.0
    for sensor, value_c, dt_s, setpoint_c in history:
        now_s += dt_s
        room.setpoint_c = setpoint_c
        room.read(sensor, value_c, now_s)
        assert 0 <= room.decide(now_s).level <= 100


def test_a_step_by_other_sensors_is_no_window() -> None:
    room = RoomControl(0.0)
    modes = set()
    for minute in range(1, 240):
        if minute < 150:
            room.read("warm", 23.1 + 0.02 * (minute % 3), minute * 60.0)
        room.read("cool", 22.0 + 0.02 * (minute % 3), minute * 60.0)
        modes.add(room.decide(minute * 60.0).mode)
    assert modes == {Mode.HEATING}


def test_colder_remaining_sensors_are_no_window() -> None:
    room, modes = RoomControl(0.0), []
    for minute in range(1, 180):
        wiggle_c = 0.02 * (minute % 3)
        if minute < 150:
            for name in "abc":
                room.read(name, 22.0 + wiggle_c, minute * 60.0)
        for name in "de":
            room.read(name, (22.0 if minute < 90 else 19.5) + wiggle_c, minute * 60.0)
        modes.append(room.decide(minute * 60.0))
    assert modes[-1].fused.room_c == pytest.approx(19.5, abs=0.3)
    assert {each.mode for each in modes} == {Mode.HEATING}


@pytest.mark.parametrize("stalled", [5, 10, 20])
def test_a_burst_of_late_readings_changes_nothing(stalled: int) -> None:
    room = RoomControl(0.0)
    room.restore(40, KNOWN)
    before = minutes(room, 1, 90, 22.0)[-1]
    late_s = (90 + stalled) * 60.0
    for minute in range(stalled):
        for index in range(3):
            room.read(f"s{index}", round(22.0 + 0.02 * ((minute * 7 + index * 3) % 5 - 2), 2), late_s)
    after = room.decide(late_s)
    assert (after.mode, after.fused.left_out) == (Mode.HEATING, {})
    assert after.level == pytest.approx(before.level, abs=3)


@pytest.mark.parametrize("silent", [5, 10, 20])
def test_the_first_reading_ends_a_silence(silent: int) -> None:
    room = RoomControl(0.0)
    room.restore(40, KNOWN)
    before = minutes(room, 1, 90, 22.0)[-1]
    held = minutes(room, 91, silent, None)
    assert {each.mode for each in held} <= {Mode.HEATING, Mode.HOLDING}
    after = minutes(room, 91 + silent, 1, 22.0)[-1]
    assert (after.mode, after.fused.left_out) == (Mode.HEATING, {})
    assert after.level == pytest.approx(before.level, abs=3)


def test_the_rebound_does_not_change_the_hold_level() -> None:
    room = RoomControl(0.0)
    room.restore(40, KNOWN)
    before = minutes(room, 1, 90, 22.0)[-1].identified
    for minute in range(91, 101):
        minutes(room, minute, 1, 22.0 - 0.4 * (minute - 90))
    after = [minutes(room, minute, 1, 18.0 + 0.2 * (minute - 100))[-1] for minute in range(101, 116)]
    assert after[-1].mode is Mode.HEATING
    assert before is not None
    assert after[-1].identified is not None
    assert after[-1].identified.hold_pct == pytest.approx(before.hold_pct, abs=5)


def test_nothing_is_learned_from_an_open_window() -> None:
    room = RoomControl(0.0)
    room.restore(40, KNOWN)
    before = minutes(room, 1, 90, 22.0)[-1].identified
    opened = [minutes(room, minute, 1, 22.0 - 0.4 * (minute - 90))[-1] for minute in range(91, 96)]
    assert opened[-1].mode is Mode.WINDOW_OPEN
    after = opened[-1].identified
    assert before is not None
    assert after is not None
    assert after.hold_pct == pytest.approx(before.hold_pct, abs=5)


@pytest.mark.parametrize(("warm_c", "hours", "level"), [(24.0, 3, 0), (24.0, 13, 10), (22.5, 3, 10)])
def test_a_warm_room_gets_no_heat_without_sensors(warm_c: float, hours: int, level: int) -> None:
    room = RoomControl(0.0)
    minutes(room, 1, 30, warm_c)
    last = minutes(room, 31, hours * 60, None)[-1]
    assert (last.mode, last.level) == (Mode.SAFE, level)
