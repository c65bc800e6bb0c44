import contextlib
import dataclasses
import math

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.contract.heating.topics import STATE, VALVE_LEVEL, HeatingState, IdentifiedRoom
from broker.errors import Rejected
from broker.message import Message, Publication
from broker.stamp import Stamp
from controllers.heating import component
from controllers.heating.component import FIRST_DECISION_AFTER_S, REMOVED_AFTER_S, HeatingController
from controllers.heating.declaration import DECLARATION
from controllers.heating.heat import HeatWatch

READINGS = "/readings/room-1/temperature"
SETPOINT = "heating/room-1/setpoint"


def reading(value: object, sensor: str = "sensor-1", topic: str = READINGS) -> Message:
    payload = {"sensorID": sensor, "type": "temperature", "value": value}
    return Message(topic=topic, payload=orjson.dumps(payload))


def run(controller: HeatingController, start_s: float, minutes: int, value_c: float) -> list[Publication]:
    """Feed two lively sensors for some minutes."""
    publications = []
    for minute in range(minutes):
        now_s = start_s + minute * 60
        for sensor in ("sensor-1", "sensor-2"):
            controller.on_message(reading(value_c + 0.01 * (minute % 3), sensor), now_s)
        publications += controller.on_tick(now_s)
    return publications


def states(publications: list[Publication]) -> list[HeatingState]:
    return [msgspec.json.decode(each.payload, type=HeatingState) for each in publications if each.topic.endswith("/state")]


def levels(publications: list[Publication]) -> list[bytes]:
    return [each.payload for each in publications if each.topic == "/actuators/room-1"]


def test_first_decision_after_a_minute() -> None:
    controller = HeatingController()
    controller.on_message(reading(25.3), 100.0)
    assert controller.on_tick(100.0 + FIRST_DECISION_AFTER_S - 0.1) == []
    level, state = controller.on_tick(100.0 + FIRST_DECISION_AFTER_S)
    assert (level.topic, level.payload, level.retain) == ("/actuators/room-1", b'{"level":0}', True)
    assert (state.topic, state.retain) == ("heating/room-1/state", True)


def test_a_decision_names_readings_setpoint_and_tick() -> None:
    """Those of the sensors used, each with its latest reading."""
    controller = HeatingController()
    setpoint = Message(topic=SETPOINT, payload=b'{"celsius":21}', stamp=Stamp("operator", "b", 1))
    controller.on_message(setpoint, 0.0)
    for seq, (sensor, celsius) in enumerate((("s1", 20.0), ("s2", 20.1), ("far", 85.0), ("s1", 20.05)), 1):
        stamped = dataclasses.replace(reading(celsius, sensor), stamp=Stamp("sim-rooms", "b", seq))
        controller.on_message(stamped, float(seq))
    for each in controller.on_tick(100.0):
        assert sorted(each.causes) == ["operator/b/1", "sim-rooms/b/2", "sim-rooms/b/4", "tick"]


def test_the_state_contains_the_reasons() -> None:
    state = states(run(HeatingController(), 0.0, 30, 25.0))[-1]
    assert (state.level, state.mode, state.setpoint) == (0, "heating", 22.0)
    assert state.temperature == pytest.approx(25.0, abs=0.1)
    assert state.error == pytest.approx(-3.0, abs=0.1)
    assert state.sensors_used == ("sensor-1", "sensor-2")
    assert state.sensors_left_out == {}
    assert state.identified is not None


def test_left_out_sensors_are_named_with_the_reason() -> None:
    controller = HeatingController()
    controller.on_message(reading(-127, "broken"), 0.0)
    assert states(run(controller, 0.0, 2, 25.0))[-1].sensors_left_out == {"broken": "out of range"}


def test_a_level_is_published_once_and_a_state_every_minute() -> None:
    publications = run(HeatingController(), 0.0, 30, 25.0)
    assert levels(publications) == [b'{"level":0}']
    assert len(states(publications)) == 29


def test_readings_alone_publish_nothing() -> None:
    controller = HeatingController()
    assert all(controller.on_message(reading(20.0), now_s) == [] for now_s in range(1000))


@pytest.mark.parametrize("celsius", [5, 5.0, 22.5, 35])
def test_a_setpoint_is_used(celsius: float) -> None:
    controller = HeatingController()
    controller.on_message(Message(topic=SETPOINT, payload=orjson.dumps({"celsius": celsius}), retain=True), 0.0)
    assert states(run(controller, 0.0, 3, 20.0))[-1].setpoint == celsius


@pytest.mark.parametrize("celsius", ["4.9", "35.1", "-1e300", "null", '"22"', "true", "NaN", "1e999"])
def test_setpoint_out_of_range_or_no_number_is_rejected(celsius: str) -> None:
    controller = HeatingController()
    with pytest.raises(Rejected):
        controller.on_message(Message(topic=SETPOINT, payload=b'{"celsius":%s}' % celsius.encode()), 0.0)
    assert states(run(controller, 0.0, 3, 20.0))[-1].setpoint == 22.0


def test_a_changed_setpoint_is_acted_on_at_the_next_tick() -> None:
    controller = HeatingController()
    run(controller, 0.0, 10, 20.0)
    controller.on_message(Message(topic=SETPOINT, payload=b'{"celsius":18.0}'), 545.0)
    assert states(controller.on_tick(550.0))[-1].setpoint == 18.0
    assert controller.on_tick(555.0) == []


@pytest.mark.parametrize(
    "message",
    [
        reading(21.0, topic="/readings//temperature"),
        reading(21.0, topic="/readings/a/b/temperature"),
        reading("21"),
        reading(None),
        reading(True),
        reading(21.0, sensor=""),
        reading(21.0, sensor="x" * 257),
        Message(topic=READINGS, payload=b""),
        Message(topic=READINGS, payload=b"\xff"),
        Message(topic=READINGS, payload=b'{"sensorID":"\xff","type":"temperature","value":1}'),
        Message(topic=READINGS, payload=b'{"sensorID":"a","type":"humidity","value":1}'),
        Message(topic=READINGS, payload=b'{"sensorID":"a","type":"temperature","value":NaN}'),
        Message(topic=READINGS, payload=b'{"sensorID":"a","type":"temperature"}'),
        Message(topic=READINGS, payload=b"[" * 100_000),
        Message(topic=READINGS, payload=b"x" * 1_000_000),
    ],
)
def test_bad_readings_are_rejected(message: Message) -> None:
    with pytest.raises(Rejected):
        HeatingController().on_message(message, 0.0)


def test_seventeen_sensors_are_too_many() -> None:
    controller = HeatingController()
    for number in range(16):
        controller.on_message(reading(20.0, f"s{number}"), 0.0)
    with pytest.raises(Rejected, match="16 sensors"):
        controller.on_message(reading(20.0, "s16"), 0.0)


def left_behind(level: int) -> list[Message]:
    known = IdentifiedRoom(rate_c_h=10.0, radiator_lag_s=660.0, transport_s=60.0, hold_pct=float(level))
    state = HeatingState(level=level, setpoint=22.0, mode="heating", identified=known)
    return [
        Message(topic="/actuators/room-1", payload=b'{"level":%d}' % level, retain=True),
        Message(topic="heating/room-1/state", payload=msgspec.json.encode(state), retain=True),
    ]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_restart_continues_from_the_retained_level(backwards: bool) -> None:
    controller = HeatingController()
    for message in reversed(left_behind(37)) if backwards else left_behind(37):
        controller.on_message(message, 0.0)
    publications = run(controller, 0.0, 3, 22.0)
    assert levels(publications) == []
    assert {each.level for each in states(publications)} == {37}


def test_only_retained_messages_restore() -> None:
    controller = HeatingController()
    for message in left_behind(90):
        controller.on_message(dataclasses.replace(message, retain=False), 0.0)
    assert levels(run(controller, 0.0, 3, 25.0)) == [b'{"level":0}']


def test_a_restored_room_without_sensors_ends_at_the_safe_level() -> None:
    controller = HeatingController()
    for message in left_behind(90):
        controller.on_message(message, 0.0)
    publications = [each for minute in range(40) for each in controller.on_tick(minute * 60.0)]
    assert levels(publications) == [b'{"level":30}']
    assert states(publications)[-1].alarms == ("no trustworthy sensor",)


def test_own_echoes_and_late_retained_messages_are_ignored() -> None:
    controller = HeatingController()
    run(controller, 0.0, 3, 25.0)
    controller.on_message(Message(topic="heating/room-1/state", payload=b"not even JSON", retain=True), 180.0)
    controller.on_message(left_behind(80)[0], 180.0)
    assert levels(run(controller, 180.0, 3, 25.0)) == []


def test_silent_rooms_are_removed() -> None:
    controller = HeatingController()
    run(controller, 0.0, 3, 22.0)
    assert states(controller.on_tick(120.0 + REMOVED_AFTER_S))
    assert controller.on_tick(240.0 + REMOVED_AFTER_S) == []
    assert controller.on_tick(2 * REMOVED_AFTER_S) == []


def test_rooms_are_independent() -> None:
    controller = HeatingController()
    for minute in range(120):
        for room, value_c in (("cold", 15.0), ("warm", 25.0)):
            message = reading(value_c + 0.01 * (minute % 3), topic=f"/readings/{room}/temperature")
            controller.on_message(message, minute * 60.0)
        publications = controller.on_tick(minute * 60.0)
    final = {each.topic: state.level for each, state in zip(publications, states(publications), strict=False)}
    assert len(states(publications)) == 2
    assert sorted(state.level for state in states(publications)) == [0, 100], final


def test_only_declared_topics_are_published() -> None:
    for each in run(HeatingController(), 0.0, 30, 15.0):
        assert any(stream.parse(each.topic) for stream in DECLARATION.publishes)
    assert DECLARATION.publishes == (VALVE_LEVEL, STATE)


@settings(max_examples=300)
@given(
    st.sampled_from([READINGS, SETPOINT, "/actuators/room-1", "heating/room-1/state", "/readings//temperature", "other"]),
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["sensorID", "type", "value", "celsius", "level", "mode", "identified"]), inner
                )
            ),
            max_leaves=10,
        ).map(orjson.dumps),
    ),
    st.booleans(),
)
def test_any_payload_is_used_or_rejected(topic: str, payload: bytes, retain: bool) -> None:
    controller = HeatingController()
    with contextlib.suppress(Rejected):
        assert controller.on_message(Message(topic=topic, payload=payload, retain=retain), 0.0) == []
    for minute in range(3):
        controller.on_tick(minute * 60.0)


def forget(kind: str, name: str) -> Message:
    return Message(topic="components/forget", payload=orjson.dumps({"kind": kind, "name": name}))


def test_a_forgotten_room_is_removed_and_comes_back() -> None:
    controller = HeatingController()
    controller.on_message(Message(topic=SETPOINT, payload=b'{"celsius":19.0}', retain=True), 0.0)
    run(controller, 0.0, 5, 21.0)
    removed = controller.on_message(forget("room", "room-1"), 300.0)
    assert {(each.topic, each.payload, each.retain) for each in removed} == {
        ("/actuators/room-1", b"", True), ("heating/room-1/state", b"", True),
    }  # fmt: skip
    for each in removed:  # its own echo
        assert controller.on_message(Message(topic=each.topic, payload=b""), 300.0) == []
    assert controller.on_tick(10_000.0) == []
    assert states(run(controller, 10_000.0, 5, 21.0))[-1].setpoint == 22.0


def test_other_kinds_and_retained_requests_are_ignored() -> None:
    controller = HeatingController()
    assert controller.on_message(forget("machine", "room-1"), 0.0) == []
    with pytest.raises(Rejected, match="retained"):
        controller.on_message(Message(topic="components/forget", payload=b'{"kind":"room","name":"x"}', retain=True), 0.0)
    with pytest.raises(Rejected, match="cannot be the name"):
        controller.on_message(forget("room", "a/b"), 0.0)


def test_a_removed_setpoint_is_the_default_again() -> None:
    controller = HeatingController()
    controller.on_message(Message(topic=SETPOINT, payload=b'{"celsius":19.0}'), 0.0)
    run(controller, 0.0, 5, 21.0)
    controller.on_message(Message(topic=SETPOINT, payload=b""), 300.0)
    assert states(controller.on_tick(300.0))[-1].setpoint == 22.0


def test_invented_rooms_do_not_displace_known_ones() -> None:
    controller = HeatingController()
    controller.on_message(reading(21.0), 0.0)
    refused = 0
    for number in range(20_000):
        try:
            controller.on_message(reading(21.0, topic=f"/readings/r{number}/temperature"), 1.0)
        except Rejected:
            refused += 1
    assert refused == 20_000 - component.MOST_NEW_ROOMS
    assert controller.on_message(reading(21.1), 2.0) == []
    assert [each for each in controller.on_tick(61.0) if each.topic == "heating/room-1/state"]


def test_restored_rooms_are_admitted_at_once() -> None:
    controller = HeatingController()
    for number in range(5_000):
        controller.on_message(Message(topic=f"/actuators/r{number}", payload=b'{"level":1}', retain=True), 0.0)
    assert len(controller.on_tick(60.0)) == 5_000


def test_a_high_time_scale_limits_the_rooms() -> None:
    controller = HeatingController(time_scale=60_000)
    controller.on_message(reading(21.0), 0.0)
    controller.on_message(reading(21.0, topic="/readings/b/temperature"), 0.0)
    with pytest.raises(Rejected, match="there are 2 rooms already"):
        controller.on_message(reading(21.0, topic="/readings/c/temperature"), 0.0)


def fahrenheit(controller: HeatingController, minutes: int) -> list[Publication]:
    """Feed five lively sensors of a house at 57 °F."""
    publications = []
    for minute in range(minutes):
        for number in range(5):
            value = 57.0 + 0.1 * number + 0.05 * ((minute + number) % 3)
            controller.on_message(reading(value, f"sensor-{number}"), minute * 60.0)
        publications += controller.on_tick(minute * 60.0)
    return publications


def test_a_house_in_fahrenheit_alarms_and_does_not_freeze(caplog: pytest.LogCaptureFixture) -> None:
    found = states(fahrenheit(HeatingController(), 120))
    assert {each.alarms for each in found} == {("implausible: above 40 °C, are the sensors in °F?",)}
    assert found[-1].mode == "safe"
    assert found[-1].level >= 10
    assert found[-1].temperature == pytest.approx(57.2, abs=0.5)
    assert [each.message for each in caplog.records if "°F" in each.message] == [
        "room room-1 has 57.2 °C, which is implausible: above 40 °C, are the sensors in °F?"
    ]


def test_a_room_below_freezing_alarms_and_is_heated() -> None:
    state = states(run(HeatingController(), 0.0, 30, -4.0))[-1]
    assert state.alarms == ("implausible: below 0 °C",)
    assert state.mode == "frost protection"
    assert state.level > 0


def swing(controller: HeatingController, minutes: int) -> list[Publication]:
    """Feed a temperature that swings with a period of 90 minutes, whatever the level."""
    publications = []
    for minute in range(minutes):
        value_c = 22 + 2 * math.sin(2 * math.pi * minute / 90) + 0.01 * (minute % 3)
        controller.on_message(reading(value_c), minute * 60.0)
        publications += controller.on_tick(minute * 60.0)
    return publications


def test_an_oscillation_is_named_and_survives_a_restart() -> None:
    publications = swing(HeatingController(), 8 * 60)
    last = states(publications)[-1]
    assert last.alarms == ("oscillated: held by a damped PI law",)
    assert last.oscillation is not None
    assert last.oscillation.period_s == pytest.approx(5400, rel=0.1)
    controller = HeatingController()
    state_topic, level_topic = "heating/room-1/state", "/actuators/room-1"
    for topic in (level_topic, state_topic):
        payload = [each.payload for each in publications if each.topic == topic][-1]
        controller.on_message(Message(topic=topic, payload=payload, retain=True), 0.0)
    continued = states(run(controller, 0.0, 3, last.temperature or 22.0))[-1]
    assert continued.oscillation == last.oscillation
    assert continued.integral == pytest.approx(last.integral, abs=2)


def test_several_rooms_without_heat_mean_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    cold = {"a", "b"}

    def lost(watch: HeatWatch, room_c: float, *_: float) -> None:
        watch.lost = room_c < 20

    monkeypatch.setattr(HeatWatch, "update", lost)
    controller, now_s = HeatingController(), 0.0

    def alarms() -> dict[str, tuple[str, ...]]:
        nonlocal now_s
        found = {}
        for _ in range(2):
            now_s += 60
            for name in "abc":
                topic = f"/readings/{name}/temperature"
                controller.on_message(reading(19.0 if name in cold else 22.0, topic=topic), now_s)
            for each in controller.on_tick(now_s):
                if each.topic.endswith("/state"):
                    found[each.topic.split("/")[1]] = msgspec.json.decode(each.payload, type=HeatingState).alarms
        return found

    alarms()
    source, either = "no heat arrives in several rooms: heat source off", "no heat arrives: heat source off, or valve stuck"
    assert alarms() == {"a": (source,), "b": (source,), "c": ()}
    cold.discard("b")
    assert alarms() == {"a": (either,), "b": (), "c": ()}
