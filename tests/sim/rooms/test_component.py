import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import Rejected
from broker.message import Message, Publication
from sim.rooms.component import Household, SimulatedRooms
from sim.rooms.sensors import Fault


def level(value: int, room: str = "room-1") -> Message:
    return Message(topic=f"/actuators/{room}", payload=b'{"level":%d}' % value, retain=True)


def ticks(rooms: SimulatedRooms, start_s: int, end_s: int) -> list[Publication]:
    return [each for now_s in range(start_s, end_s, 5) for each in rooms.on_tick(now_s)]


def test_the_payload_matches_the_contract_exactly() -> None:
    first = SimulatedRooms(Household()).on_tick(0.0)[0]
    assert first.topic == "/readings/room-1/temperature"
    value = orjson.loads(first.payload)["value"]
    assert first.payload == b'{"sensorID":"sensor-1","type":"temperature","value":%s}' % str(value).encode()
    assert not first.retain


def test_every_sensor_reports_once_a_minute() -> None:
    publications = ticks(SimulatedRooms(Household(rooms=4)), 0, 600)
    assert len(publications) == 4 * 5 * 10
    assert {each.topic for each in publications} == {f"/readings/room-{n}/temperature" for n in range(1, 5)}


def test_rooms_are_spread_over_the_minute() -> None:
    rooms = SimulatedRooms(Household(rooms=60))
    assert {len(rooms.on_tick(now_s)) for now_s in range(60)} == {5}


def test_an_open_valve_warms_the_room() -> None:
    heated, cold = SimulatedRooms(Household()), SimulatedRooms(Household())
    heated.on_message(level(100), 0.0)
    ticks(heated, 0, 7200)
    ticks(cold, 0, 7200)
    assert heated.true_temperatures()["room-1"] > cold.true_temperatures()["room-1"] + 2


def test_levels_of_other_rooms_are_ignored() -> None:
    assert SimulatedRooms(Household()).on_message(level(100, "kitchen"), 0.0) == []


def test_faults_are_given_to_the_first_sensors() -> None:
    rooms = SimulatedRooms(Household(faults=(Fault.SILENT,)))
    ticks(rooms, 0, 11 * 3600)
    names = {orjson.loads(each.payload)["sensorID"] for each in ticks(rooms, 11 * 3600, 11 * 3600 + 60)}
    assert names == {f"sensor-{n}" for n in range(2, 6)}


def test_the_shipped_room_does_not_depend_on_the_others() -> None:
    single, several = SimulatedRooms(Household()), SimulatedRooms(Household(rooms=3))
    ticks(single, 0, 3600)
    ticks(several, 0, 3600)
    assert single.true_temperatures()["room-1"] == several.true_temperatures()["room-1"]


def test_the_first_three_rooms_do_not_depend_on_the_seed() -> None:
    first, second = (SimulatedRooms(Household(rooms=4, seed=seed)) for seed in (1, 2))
    for rooms in (first, second):
        ticks(rooms, 0, 60)
    kept = [first._rooms[name].room.parameters == second._rooms[name].room.parameters for name in first._rooms]
    assert kept == [True, True, True, False]


def test_a_long_pause_is_caught_up_at_once() -> None:
    rooms = SimulatedRooms(Household())
    rooms.on_tick(0.0)
    assert len(rooms.on_tick(36_000.0)) == 5
    assert rooms.on_tick(36_005.0) == []


@pytest.mark.parametrize("payload", [b"{}", b'{"level":-1}', b'{"level":101}', b'{"level":1.5}', b'{"level":"1"}', b"\xff"])
def test_a_bad_level_is_rejected(payload: bytes) -> None:
    with pytest.raises(Rejected):
        SimulatedRooms(Household()).on_message(Message(topic="/actuators/room-1", payload=payload), 0.0)


def test_a_removed_level_changes_nothing() -> None:
    assert SimulatedRooms(Household()).on_message(Message(topic="/actuators/room-1", payload=b""), 0.0) == []


@given(st.text(max_size=20), st.binary(max_size=60))
def test_no_message_crashes_it(topic: str, payload: bytes) -> None:
    for each in (topic, "/actuators/room-1"):
        try:
            SimulatedRooms(Household()).on_message(Message(topic=each, payload=payload), 0.0)
        except Rejected:
            continue
