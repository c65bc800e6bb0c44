import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.heating.model import Identified
from controllers.heating.modes import Alarm, Mode
from controllers.heating.room import Decision, RoomControl
from controllers.heating.silence import SilenceWatch

RATE_C_S = 10 / 3600
KNOWN = Identified(rate_c_h=10.0, radiator_lag_s=660.0, transport_s=60.0, hold_pct=40.0)


def silent(minutes: int, heat: float, hold: float) -> list[bool]:
    watch = SilenceWatch()
    watch.hear(hold)
    return [watch.update(heat, RATE_C_S, 0.1, 60.0) for _ in range(minutes)]


@pytest.mark.parametrize(("heat", "hold", "dead"), [(0.4, 0.4, False), (0.43, 0.4, False), (1.0, 0.4, True), (0.0, 0.4, True)])
def test_heat_that_moves_nothing_means_dead_sensors(heat: float, hold: float, dead: bool) -> None:
    assert any(silent(240, heat, hold)) is dead


def test_a_report_starts_the_watch_again() -> None:
    watch = SilenceWatch()
    for _ in range(100):
        watch.hear(0.4)
        assert not watch.update(1.0, RATE_C_S, 0.1, 60.0)


@given(st.floats(0, 1), st.floats(-1, 2), st.floats(0.01, 1))
def test_coarser_sensors_are_trusted_longer(heat: float, hold: float, resolution_c: float) -> None:
    fine, coarse = SilenceWatch(), SilenceWatch()
    for watch in (fine, coarse):
        watch.hear(hold)
    for _ in range(60):
        assert fine.update(heat, RATE_C_S, resolution_c, 60.0) >= coarse.update(heat, RATE_C_S, 2 * resolution_c, 60.0)


class Room:
    """Three sensors that report only changes of 0.1 K, in a room whose temperature is given."""

    def __init__(self) -> None:
        self.control, self.minute, self.last_c = RoomControl(0.0), 0, [0.0] * 3

    def minutes(self, count: int, from_c: float, to_c: float, alive: bool = True) -> list[Decision]:
        decisions = []
        for step in range(1, count + 1):
            self.minute += 1
            room_c = from_c + (to_c - from_c) * step / count
            for index in range(3):
                value_c = round(room_c + 0.03 * index, 1)
                if alive and value_c != self.last_c[index]:
                    self.last_c[index] = value_c
                    self.control.read(f"s{index}", value_c, self.minute * 60.0)
            decisions.append(self.control.decide(self.minute * 60.0))
        return decisions


def test_a_quiet_room_is_held_for_hours() -> None:
    room = Room()
    room.control.restore(40, KNOWN)
    room.minutes(90, 21.4, 22.0)
    decisions = room.minutes(200, 22.0, 22.0)
    assert {each.mode for each in decisions} == {Mode.HEATING}
    assert not any(each.fused.left_out or each.alarms for each in decisions)


def test_dead_cold_sensors_never_get_full_heat() -> None:
    room = Room()
    room.minutes(60, 16.0, 18.0)
    decisions = room.minutes(400, 18.0, 18.0, alive=False)
    assert max(each.level for each in decisions[25:]) <= 60
    found = next(index for index, each in enumerate(decisions) if each.alarms == (Alarm.NO_SENSOR,))
    assert found < 150  # the valve may be one that lets little through until then
    assert {each.level for each in decisions[max(30, found) :]} <= set(range(10, 31))
    assert room.minutes(1, 17.5, 17.5)[-1].mode is Mode.HEATING


def test_silence_of_the_whole_room_is_bounded() -> None:
    room = Room()
    room.minutes(120, 18.0, 22.0)
    assert room.minutes(5 * 60, 22.0, 22.0, alive=False)[-1].mode is Mode.SAFE
