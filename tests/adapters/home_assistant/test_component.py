"""What is announced to Home Assistant, withdrawn from it, and counted for it."""

import re
from typing import Any

import orjson
import pytest

from adapters.home_assistant.component import HomeAssistant
from adapters.home_assistant.declaration import ANSWER_TOPIC, RECORDER_TOPIC
from adapters.home_assistant.entities import Thing, announce
from adapters.home_assistant.totals import EVERY_S, PATIENCE_S
from broker.contract.storage.topics import QueryEnd
from broker.errors import Rejected
from broker.message import Message, Publication, encode

ONLINE = b'{"state":"online","boot":"b","version":"1"}'


def message(topic: str, payload: bytes = b"{}", **more: Any) -> Message:
    return Message(topic=topic, payload=payload, **more)


def topics(publications: list[Publication]) -> list[str]:
    return [each.topic for each in publications]


def reply(request: Publication, rows: list[dict[str, object]]) -> list[Message]:
    common = {"correlation_data": request.correlation_data}
    part = message(ANSWER_TOPIC, orjson.dumps(rows), properties=(("part", "1"),), **common)
    end = encode(QueryEnd(rows=len(rows), chunks=1, elapsed_s=0.1, columns=["ship", "kwh"], truncated=False, error=None))
    final = message(ANSWER_TOPIC, end, properties=(("final", "true"), ("parts", "1")), **common)
    return [part, final]


def asked(component: HomeAssistant, now_s: float) -> list[Publication]:
    return [each for each in component.on_tick(now_s) if each.topic == "storage/query"]


def test_a_room_is_announced_once() -> None:
    component = HomeAssistant()
    first = component.on_message(message("heating/office/state"), 0)
    assert topics(first) == [
        "homeassistant/climate/scaup/room-office-climate/config",
        "homeassistant/sensor/scaup/room-office-temperature/config",
        "homeassistant/sensor/scaup/room-office-valve/config",
        "homeassistant/binary_sensor/scaup/room-office-problem/config",
    ]
    assert all(each.retain for each in first)
    assert component.on_message(message("heating/office/state"), 1) == []


def test_a_setpoint_goes_where_an_operators_goes() -> None:
    climate = orjson.loads(announce(Thing("room", "office"))[0].payload)
    assert climate["temperature_command_topic"] == "heating/office/setpoint"
    assert climate["temperature_command_template"] == '{"celsius": {{ value }}}'
    assert climate["retain"] is True
    assert (climate["min_temp"], climate["max_temp"]) == (5.0, 35.0)


@pytest.mark.parametrize(
    ("topic", "component"),
    [
        ("heating/a/state", "heating"),
        ("machines/1/average", "moving-average"),
        ("chargers/c1/state", "charging"),
    ],
)
def test_entities_are_unavailable_without_their_component(topic: str, component: str) -> None:
    for each in HomeAssistant().on_message(message(topic), 0):
        (availability,) = orjson.loads(each.payload)["availability"]
        assert availability["topic"] == f"components/{component}/state"


def test_names_become_ids_that_home_assistant_accepts() -> None:
    names = ["Büro 1", "Büro-1", "Büro_1", "a.b", "a_b", "a_5f_b"]
    ids = [Thing("room", name).id for name in names]
    assert len(set(ids)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", each) for each in ids)


def test_a_forgotten_thing_is_withdrawn_and_can_come_back() -> None:
    component = HomeAssistant()
    announced = component.on_message(message("machines/7/average"), 0)
    forget = message("components/forget", b'{"kind":"machine","name":"7"}')
    withdrawn = component.on_message(forget, 1)
    assert topics(withdrawn) == topics(announced)
    assert all(each.payload == b"" and each.retain for each in withdrawn)
    assert component.on_message(message("machines/7/average"), 2) == announced


def test_a_removed_state_withdraws_too() -> None:
    component = HomeAssistant()
    announced = component.on_message(message("chargers/c1/state"), 0)
    assert topics(component.on_message(message("chargers/c1/state", b""), 1)) == topics(announced)


def test_totals_are_asked_for_after_a_change_and_published_once() -> None:
    component = HomeAssistant(time_scale=2.0)
    assert component.on_tick(0) == []
    announced = component.on_message(message("energy/1/interval"), 0)
    assert topics(announced) == ["homeassistant/sensor/scaup/ship-1-energy/config"]
    (request,) = asked(component, 1)
    component.on_message(message("energy/1/interval"), 2)  # while the query is under way: asked again, but not at once
    assert taken(component, request, {"1": 12.5}) == [("homeassistant/scaup/ships/1", b'{"kwh":12.5}')]
    assert asked(component, 1 + 2 * EVERY_S - 0.1) == []
    (again,) = asked(component, 1 + 2 * EVERY_S)
    assert taken(component, again, {"1": 12.5}) == []
    assert asked(component, 1000) == []


def test_a_restarted_adapter_continues_with_the_ships_of_before() -> None:
    component = HomeAssistant()
    component.on_message(message("homeassistant/scaup/ships/1", b'{"kwh":1.0}', retain=True), 0)
    component.on_message(message(RECORDER_TOPIC, ONLINE), 0)
    (request,) = asked(component, 1)
    assert taken(component, request, {"1": 2.0, "2": 3.0}) == [("homeassistant/scaup/ships/1", b'{"kwh":2.0}')]


def test_a_forgotten_ship_does_not_return_with_the_totals() -> None:
    component = HomeAssistant()
    component.on_message(message("energy/1/interval"), 0)
    (request,) = asked(component, 0)
    withdrawn = component.on_message(message("components/forget", b'{"kind":"ship","name":"1"}'), 1)
    assert "homeassistant/scaup/ships/1" in topics(withdrawn)
    assert component.on_message(message("homeassistant/scaup/ships/1", b""), 1) == []
    assert taken(component, request, {"1": 2.0}) == []


def taken(component: HomeAssistant, request: Publication, totals: dict[str, float]) -> list[tuple[str, bytes]]:
    rows = [{"ship": ship, "kwh": kwh} for ship, kwh in totals.items()]
    return [(each.topic, each.payload) for one in reply(request, rows) for each in component.on_message(one, 3)]


def test_an_unanswered_query_is_repeated() -> None:
    component = HomeAssistant()
    component.on_message(message(RECORDER_TOPIC, ONLINE), 0)
    assert len(asked(component, 0)) == 1
    assert asked(component, PATIENCE_S - 0.1) == []
    assert len(asked(component, PATIENCE_S)) == 1


def test_an_incomplete_answer_is_not_used() -> None:
    component = HomeAssistant()
    component.on_message(message(RECORDER_TOPIC, ONLINE), 0)
    (request,) = asked(component, 0)
    assert component.on_message(reply(request, [{"ship": "1", "kwh": 1.0}])[1], 1) == []
    assert len(asked(component, EVERY_S)) == 1


def test_a_request_to_forget_without_a_name_is_rejected() -> None:
    with pytest.raises(Rejected):
        HomeAssistant().on_message(message("components/forget", b'{"kind":"room","name":""}'), 0)


def test_a_disconnected_adapter_withdraws_what_was_announced() -> None:
    announced = announce(Thing("room", "office"))
    component = HomeAssistant(announces=False)
    assert component.on_message(message("heating/office/state"), 0) == []
    withdrawn = [each for one in announced for each in component.on_message(message(one.topic, one.payload, retain=True), 0)]
    assert [(each.topic, each.payload, each.retain) for each in withdrawn] == [(one.topic, b"", True) for one in announced]
    assert component.on_message(message(announced[0].topic, b""), 1) == []
    assert component.on_tick(1) == []
