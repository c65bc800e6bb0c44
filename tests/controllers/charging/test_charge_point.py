"""Chargers that speak OCPP: their widgets, with and without a state of charge, and their state over restarts."""

from typing import Any

import orjson
import pytest

from broker.contract.charging.topics import ChargePoint, ChargerState, Status, Transaction
from broker.message import Message, encode
from controllers.charging.charge_point import follow
from tests.controllers.charging.world import World, at, started


def transaction(number: str = "17", **more: Any) -> Transaction:
    return Transaction(id=number, session=f"c1#{number}", started_at=at(0), **more)


def point(*transactions: Transaction, **connectors: str) -> ChargePoint:
    statuses = {each.removeprefix("c"): status for each, status in connectors.items()}
    return ChargePoint(protocol="ocpp1.6", connectors=statuses, transactions=transactions)


def tell(world: World, found: ChargePoint | None, charger: str = "c1") -> list[str]:
    topic, payload = f"chargers/{charger}/charge-point", b"" if found is None else encode(found)
    world.retained[topic] = payload, world.stamp()
    return world.receive(Message(topic=topic, payload=payload, stamp=world.stamp()))


def connected(charger: str = "c1", **given: Any) -> World:
    world = started(**given)
    tell(world, point(c1="Available"), charger)
    world.link(charger=charger)
    return world


@pytest.mark.parametrize(
    ("statuses", "wanted"),
    [
        ({"c1": "Charging"}, Status.CHARGING),
        ({"c1": "SuspendedEV"}, Status.CHARGED),
        ({"c1": "Finishing"}, Status.CHARGED),
        ({"c1": "SuspendedEVSE"}, Status.UNAVAILABLE),
        ({"c1": "Preparing"}, Status.UNAVAILABLE),
        ({"c1": "Faulted"}, Status.UNAVAILABLE),
        ({"c1": "SuspendedEV", "c2": "Charging"}, Status.CHARGING),
        ({"c1": "Available", "c2": "Finishing"}, Status.CHARGED),
        ({}, Status.UNAVAILABLE),
    ],
)
def test_widgets_follow_the_status_without_a_state_of_charge(statuses: dict[str, str], wanted: Status) -> None:
    assert follow(ChargerState(state="online", widget="w1"), point(**statuses)).status is wanted


@pytest.mark.parametrize(("state", "wanted"), [("Charging", Status.CHARGING), ("SuspendedEV", Status.CHARGED), (None, None)])
def test_widgets_follow_the_state_of_a_transaction(state: str | None, wanted: Status | None) -> None:
    found = point(transaction(charging_state=state), c1="Occupied")
    assert follow(ChargerState(state="online", widget="w1"), found).status is (wanted or Status.UNAVAILABLE)


def test_a_state_of_charge_counts_more_than_the_status() -> None:
    world = connected()
    tell(world, point(transaction(), c1="Charging"))
    assert world.shown() == "charging"
    assert world.soc(85)[0] == "w1 charging80"
    tell(world, point(transaction(soc=85.0), c1="SuspendedEV"))
    assert world.shown() == "charging80"
    assert (world.sessions, world.state().soc) == ([], 85)


def test_the_next_cars_state_of_charge_is_not_the_last_ones() -> None:
    world = connected()
    tell(world, point(transaction(soc=85.0), c1="Charging"))
    world.soc(85)
    ended = transaction(soc=85.0, ended_at=at(9))
    tell(world, point(ended, c1="Finishing"))
    assert world.shown() == "charging80"
    tell(world, point(ended, transaction("25"), c1="Charging"))
    assert (world.shown(), world.state().soc) == ("charging", None)
    world.soc(40)
    tell(world, point(ended, transaction("25", ended_at=at(20)), c1="Available"))
    assert (world.shown(), world.state().soc) == ("unavailable", None)


def test_a_transaction_goes_on_while_the_charger_is_offline() -> None:
    world = connected()
    tell(world, point(transaction(), c1="Charging"))
    world.link(False)
    world.tick(3.0)
    assert world.shown() == "charging"
    world.tick(3.0)
    assert (world.shown(), world.state().state) == ("unavailable", "offline")
    running = world.state().session
    assert running is not None
    assert running.session == "c1#17"
    world.link(connection="b")
    assert (world.shown(), world.state().state) == ("charging", "online")
    assert world.sessions == []


def test_a_charger_needs_no_widget() -> None:
    world = connected("box")
    tell(world, point(transaction(), c1="Charging"), "box")
    assert world.soc(50, "box") != []
    assert (world.statuses, world.state("box").soc, world.state("box").widget) == ([], 50, None)
    world.reload({**world.pairs, "box": "w9"})
    assert world.shown("w9") == "charging"
    world.reload({"c1": "w1"})
    assert world.shown("w9") == "unavailable"
    assert (world.state("box").widget, world.state("box").soc) == (None, 50)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("charger", ["c1", "box"])
def test_a_restart_changes_nothing(order: int, charger: str) -> None:
    world = connected(charger)
    tell(world, point(transaction(), c1="Charging"), charger)
    world.soc(50, charger)
    before = world.state(charger)
    world.restart(order=order)
    published = len(world.published)
    for _ in range(4):
        world.tick()
    assert world.state(charger) == before
    assert {each.topic for each in world.published[published:]} <= {"charging/pairs"}


def test_without_ocpp_it_is_a_plain_charger_again() -> None:
    world = connected()
    tell(world, point(transaction(), c1="Charging"))
    tell(world, None)
    world.soc(50)
    assert [each.soc_start for each in world.sessions] == [50]


def test_a_forgotten_ocpp_charger_leaves_nothing() -> None:
    world = connected("box")
    world.link(False, "box")
    forget = orjson.dumps({"kind": "charger", "name": "box"})
    found = world.controller.on_message(Message(topic="components/forget", payload=forget), world.now_s)
    removed = {each.topic for each in found if not each.payload}
    assert removed == {topic for topic in world.retained if topic.startswith("chargers/box/")}
    assert world.tick(60.0) == []
