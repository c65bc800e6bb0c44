"""Requests of operators to pair and unpair chargers."""

import json
from typing import Any

import pytest

from adapters.client.declaration import OPERATOR
from broker.contract import device_filters
from broker.errors import Rejected
from broker.launch.access import publish_filters
from controllers.charging.declaration import DECLARATION
from tests.controllers.charging.world import World, started


def answer(shown: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shown[-1].removeprefix("answer "))
    return found


def test_pair_takes_effect_before_its_answer() -> None:
    world = started()
    shown = world.request(action="pair", charger="c9", widget="w9")
    assert shown[0] == "pairs"
    assert answer(shown) == {"action": "pair", "status": "paired", "charger": "c9", "widget": "w9"}
    assert json.loads(world.retained["charging/pairs"][0])["pairs"]["c9"] == "w9"
    assert "w9 charging" in world.soc(50, "c9")


def test_unpair_ends_the_session_and_the_status() -> None:
    world = started()
    world.link()
    world.soc(50)
    shown = world.request(action="unpair", charger="c1")
    assert {"pairs", "w1 unavailable", "session unpaired"} <= set(shown)
    assert answer(shown) == {"action": "unpair", "status": "unpaired", "charger": "c1", "widget": "w1"}
    with pytest.raises(Rejected, match="in no pair"):
        world.soc(60)
    assert answer(world.request(action="pair", charger="c2", widget="w1"))["error"]
    world.request(action="unpair", charger="c2")
    assert answer(world.request(action="pair", charger="c2", widget="w1"))["status"] == "paired"


def test_same_pair_once_more_changes_nothing() -> None:
    world = started()
    shown = world.request(action="pair", charger="c1", widget="w1")
    assert len(shown) == 1
    assert answer(shown)["status"] == "already paired"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"action": "pair", "charger": "c1", "widget": "w9"}, "charger c1 has widget w1: unpair c1 first"),
        ({"action": "pair", "charger": "c9", "widget": "w2"}, "widget w2 belongs to charger c2: unpair c2 first"),
        ({"action": "pair", "charger": "c9"}, "to pair a charger, name its widget"),
        ({"action": "pair", "charger": "c/9", "widget": "w9"}, "charger 'c/9': an id becomes part of a topic"),
        ({"action": "pair", "charger": "c9", "widget": ""}, "widget '': an id must have at least one character"),
        ({"action": "unpair", "charger": "c9"}, "charger c9 is in no pair"),
        ({"action": "swap", "charger": "c1"}, "wrong shape"),
        ({"charger": "c1"}, "wrong shape"),
    ],
)
def test_refused_request_changes_nothing(fields: dict[str, Any], error: str) -> None:
    world = started()
    shown = world.request(**fields)
    assert len(shown) == 1
    assert answer(shown)["error"].startswith(error)
    with pytest.raises(Rejected) as rejected:
        world.request(None, **fields)
    assert str(rejected.value).startswith(error)
    assert world.tick() == []


def test_last_pair_stays() -> None:
    world = World(pairs={"c1": "w1"})
    assert "only pair" in answer(world.request(action="unpair", charger="c1"))["error"]


@pytest.mark.parametrize(("topic", "retain"), [("charging/pairs", False), ("charging/answer/cli", True)])
def test_request_with_a_foreign_answer_or_retained(topic: str, retain: bool) -> None:
    world = started()
    with pytest.raises(Rejected):
        world.request(topic, retain, action="unpair", charger="c1")
    assert world.pairs["c1"] == "w1"


def test_only_operators_may_request() -> None:
    assert "charging/request" in publish_filters(OPERATOR)
    assert "charging/answer/#" in publish_filters(DECLARATION)
    assert not [each for each in device_filters() if each.startswith("charging")]
