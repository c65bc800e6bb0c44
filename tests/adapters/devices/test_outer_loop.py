"""Rooms with thermostatic valves that take only a setpoint."""

from dataclasses import replace

import orjson
import pytest

from adapters.devices.declarations import read_file
from adapters.devices.outer_loop import OuterLoop
from adapters.devices.outputs import Outputs
from broker.contract.heating.topics import READING as TEMPERATURE
from broker.contract.heating.topics import TemperatureReading
from broker.message import Message, Publication
from controllers.heating.component import HeatingController
from sim.rooms.model import AIRED_ROOM, SHIPPED_ROOM, Room, RoomParameters, random_room

DAY_S, TICK_S = 24 * 3600, 60


class Trv:
    """A valve with a loop of its own: proportional, on a sensor that the radiator warms, moved at most every four minutes."""

    def __init__(self, band_c: float, radiator_c: float, offset_c: float) -> None:
        self.band_c, self.radiator_c, self.offset_c = band_c, radiator_c, offset_c
        self.level = 0.0
        self.setpoint_c = 20.0

    def step(self, room_c: float, heat_share: float, now_s: int) -> float:
        if now_s % 240 == 0:
            own_c = room_c + self.offset_c + self.radiator_c * heat_share
            self.level = min(max(50 + 100 * (self.setpoint_c - own_c) / self.band_c, 0), 100)
        return self.level


def _play(parameters: RoomParameters, trv: Trv, setpoint_c: float = 21.0, days: int = 2) -> tuple[float, int]:
    """Hold a room; return the share within 0.5 K of the setpoint from the fifth hour on, and how often the device was set."""
    room, loop = Room(parameters, seed=3), OuterLoop()
    inside = settled = changes = 0
    for now_s in range(0, days * DAY_S, TICK_S):
        heard = now_s % 300 == 0
        set_c = loop.take(setpoint_c, round(room.air_c, 1), "heating", now_s) if heard else loop.tick(now_s) or 0.0
        changes += set_c != trv.setpoint_c
        trv.setpoint_c = set_c
        room.level_pct = trv.step(room.air_c, room.heat_pct / 100, now_s)
        room.step(TICK_S)
        if now_s >= 5 * 3600:
            settled += 1
            inside += abs(room.air_c - setpoint_c) <= 0.5
    return inside / settled, changes


CALM = replace(SHIPPED_ROOM, window=())


@pytest.mark.parametrize("room", [CALM, replace(AIRED_ROOM, window=()), replace(random_room(4), window=(), sun_w=100.0)])
@pytest.mark.parametrize("trv", [(2.0, 4.0, 1.0), (1.0, 2.0, 0.0), (4.0, 6.0, 2.0), (2.0, 3.0, -2.0)])
def test_room_is_held_by_a_setpoint_alone(room: RoomParameters, trv: tuple[float, float, float]) -> None:
    share, changes = _play(room, Trv(*trv))
    assert share >= 0.95
    assert changes < 150  # in two days: each one costs the battery of the device


def test_heating_holds_a_room_through_a_declared_valve() -> None:
    """The whole path: sensor, heating controller, its state, the declaration's payload, the device, the radiator."""
    text = '[valve.a]\nto = "z/a/set"\nroom = "room"\nsend.occupied_heating_setpoint = { of = "setpoint" }\n'
    outputs, heating, trv, room = Outputs(), HeatingController(), Trv(2.0, 4.0, 1.0), Room(CALM, seed=3)
    outputs.use(read_file("f.toml", text))
    inside = settled = 0
    for now_s in range(0, 2 * DAY_S, TICK_S):
        reading = TemperatureReading("a", "temperature", round(room.air_c, 2))
        heating.on_message(_received(TEMPERATURE.publication(reading, room="room")), now_s)
        sent = outputs.tick(now_s)
        for each in heating.on_tick(now_s):
            if each.topic == "heating/room/state":
                sent += outputs.take(_received(each), now_s)
        for each in sent:
            trv.setpoint_c = orjson.loads(each.payload)["occupied_heating_setpoint"]
        room.level_pct = trv.step(room.air_c, room.heat_pct / 100, now_s)
        room.step(TICK_S)
        if now_s >= 5 * 3600:
            settled += 1
            inside += abs(room.air_c - 22) <= 0.5
    assert inside / settled >= 0.95


def _received(publication: Publication) -> Message:
    return Message(topic=publication.topic, payload=publication.payload)


def test_without_the_loop_the_offset_stays() -> None:
    trv = Trv(2.0, 4.0, 1.0)
    trv.setpoint_c = 21.0
    room = Room(CALM, seed=3)
    inside = 0
    for now_s in range(0, 2 * DAY_S, TICK_S):
        room.level_pct = trv.step(room.air_c, room.heat_pct / 100, now_s)
        room.step(TICK_S)
        inside += now_s >= 5 * 3600 and abs(room.air_c - 21) <= 0.5
    assert inside * TICK_S < 0.3 * DAY_S


def test_an_open_window_closes_the_valve() -> None:
    loop = OuterLoop(bias_c=3.0)
    assert loop.take(21.0, 20.0, "window open", 0.0) == 5.0
    assert loop.tick(3600.0) == 5.0
    assert loop.bias_c == 3.0


def test_a_restarted_loop_continues() -> None:
    loop = OuterLoop(bias_c=3.0)
    assert loop.take(21.0, 21.0, "heating", 0.0) == 24.0


def test_without_a_temperature_the_bias_stays() -> None:
    loop = OuterLoop(bias_c=1.0)
    assert loop.take(21.0, None, "safe", 0.0) == 22.0
    assert loop.tick(7200.0) == 22.0


def test_small_changes_are_not_sent() -> None:
    loop = OuterLoop()
    assert [loop.take(20.0 + each, 20.0 + each, "heating", 0.0) for each in (0.0, 0.3, 0.4, 0.9)] == [20.0, 20.0, 20.5, 21.0]
