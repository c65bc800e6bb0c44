"""The live parts of a page: what they send, and what they skip."""

from typing import Any

import pytest

from adapters.web import shown
from adapters.web.live import LiveTopics, Topic
from adapters.web.shown import (
    MOST_EVENTS,
    STRUCTURE_S,
    EventsShown,
    LatestShown,
    Shown,
    TopicShown,
    TreeShown,
    describe,
    text,
    topic_filter,
)
from broker.errors import InvalidTopic
from broker.message import Message


class World:
    """Topics, and one part of a page, with how often it asked to be sent."""

    def __init__(self, *names: str) -> None:
        self.topics, self.now_s, self.woken = LiveTopics(), 1000.0, 0
        self.shown: Shown | None = None
        for name in names:
            self.publish(name, "1")

    def publish(self, topic: str, payload: str) -> None:
        self.topics.take(Message(topic=topic, payload=payload.encode()), self.now_s)

    def wake(self) -> None:
        self.woken += 1

    def update(self, after_s: float = 0.1) -> dict[str, Any] | None:
        self.now_s += after_s
        assert self.shown is not None
        return self.shown.update(self.now_s)


def test_a_tree_sends_rows_once_and_then_values() -> None:
    world = World("a/b", "c")
    world.shown = TreeShown(world.topics, ["a"], "", 0, 10)
    first = world.update()
    assert first is not None
    assert [row["path"] for row in first["rows"]] == ["a", "a/b", "c"]
    assert (first["total"], first["topics"], first["found"]) == (3, 2, None)
    assert world.update() is None
    world.publish("a/b", "2")
    second = world.update()
    assert second is not None
    assert second["values"].keys() == {"1"}
    assert second["values"]["1"]["value"] == "2"


def test_replaced_values_are_counted_as_skipped() -> None:
    world = World("a")
    world.shown = TreeShown(world.topics, [], "", 0, 10)
    world.update()
    for payload in "2345":
        world.publish("a", payload)
    sent = world.update()
    assert sent is not None
    assert (sent["values"]["0"]["value"], sent["skipped"]) == ("5", 3)


def test_a_new_topic_comes_with_a_new_window() -> None:
    world = World("b")
    world.shown = TreeShown(world.topics, [], "", 0, 10)
    world.update()
    world.publish("a", "1")
    sent = world.update(STRUCTURE_S)
    assert sent is not None
    assert [row["path"] for row in sent["rows"]] == ["a", "b"]


def test_a_filter_finds_topics_that_come_later() -> None:
    world = World("a", "b")
    world.shown = TreeShown(world.topics, [], "needle", 0, 10)
    assert world.update() == {"total": 0, "topics": 2, "found": 0, "start": 0, "skipped": 0, "more": False}
    world.publish("b", '{"NEEDLE": 1}')
    sent = world.update(STRUCTURE_S)
    assert sent is not None
    assert ([row["path"] for row in sent["rows"]], sent["found"]) == (["b"], 1)


@pytest.mark.parametrize(
    ("wanted", "finds"),
    [
        ("heating/+/state", True),
        ("heating/#", True),
        ("+/state", False),
        ("ROOM-1", True),
        ("setPOINT", True),
        ("22.0", True),
        ("café", False),
        ("room-2", False),
    ],
)
def test_a_filter_is_mqtt_or_a_text_in_any_case(wanted: str, finds: bool) -> None:
    topic = Topic("heating/room-1/state")
    topic.take(Message(topic=topic.name, payload=b'{"setpoint":22.0}'), 17, 1, 0.0)
    assert topic_filter(wanted)(topic) is finds


@pytest.mark.parametrize("wanted", ["a/#/b", "a+", "#a", "+b/#"])
def test_a_wrong_filter_says_what_is_wrong(wanted: str) -> None:
    with pytest.raises(InvalidTopic, match="must be"):
        topic_filter(wanted)


def test_a_topic_is_sent_again_only_when_it_is_new() -> None:
    world = World()
    world.shown = TopicShown(world.topics, "a")
    assert world.update() == {"topic": "a", "message": None}
    assert world.update() is None
    world.publish("a", '{"x":1}')
    sent = world.update()
    assert sent is not None
    assert sent["message"]["payload"] == '{"x":1}'
    assert world.update() is None


def test_latest_sends_all_and_then_changes() -> None:
    world = World("heating/room-1/state", "heating/room-2/state", "machines/1/reading")
    world.shown = LatestShown(world.topics, ["heating/+/state"])
    first = world.update()
    assert first is not None
    assert ([each["topic"] for each in first["latest"]], first["whole"]) == (
        ["heating/room-1/state", "heating/room-2/state"],
        True,
    )
    world.publish("machines/1/reading", "{}")
    assert world.update() is None
    world.publish("heating/room-2/state", "2")
    world.publish("heating/room-2/state", "3")
    second = world.update()
    assert second is not None
    assert ([each["payload"] for each in second["latest"]], second["whole"], second["skipped"]) == (["3"], False, 1)


def test_what_is_no_text_is_shown_in_hexadecimal() -> None:
    message = Message(topic="a", payload=b"\xff\x00")
    assert text(message, 100) == "ff 00"
    assert describe(message, 1.0, 2)["binary"] is True
    assert text(Message(topic="a", payload="é".encode() * 100), 3) == "ééé"


def test_a_part_wakes_for_what_it_shows_and_once_a_turn() -> None:
    world = World("a", "b", "c")
    world.shown = LatestShown(world.topics, ["a"], world.wake)
    world.update()
    for name in "bcbcaaa":
        world.publish(name, "2")
    assert world.woken == 1
    world.update()
    world.shown.close()
    world.publish("a", "3")
    assert world.woken == 1


def test_a_searched_payload_wakes_and_is_counted_once() -> None:
    world = World("a", "b")
    world.shown = TreeShown(world.topics, [], "needle", 0, 10, world.wake)
    world.update()
    world.publish("b", "a needle")
    world.update(STRUCTURE_S)
    for number in range(3):
        world.publish("b", f"needle {number}")
    assert world.woken == 2
    sent = world.update()
    assert sent is not None
    assert (sent["values"]["0"]["value"], sent["skipped"]) == ("needle 2", 2)


def test_names_are_found_first_and_then_payloads() -> None:
    world = World("a/needle", "b", "c")
    world.publish("c", "a NEEDLE")
    world.shown = TreeShown(world.topics, [], "Needle", 0, 10, world.wake)
    first, second = world.update(0.0), world.update(0.0)
    assert first is not None
    assert second is not None
    assert ([row["path"] for row in first["rows"]], first["more"]) == (["a", "a/needle"], True)
    assert ([row["path"] for row in second["rows"]], second["more"]) == (["a", "a/needle", "c"], False)
    assert world.update(0.0) is None


def test_large_latest_messages_are_sent_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown, "LARGEST_PART", 100)
    world = World()
    for number in range(6):
        world.publish(f"a/{number}", "x" * 60)
    world.shown = LatestShown(world.topics, ["a/+"], world.wake)
    parts = [world.update() for _ in range(3)]
    assert [len(each["latest"]) for each in parts if each] == [2, 2, 2]
    assert [each["whole"] for each in parts if each] == [True, False, False]
    assert (world.woken, world.update()) == (2, None)


def test_a_topic_that_is_not_there_yet_is_waited_for() -> None:
    world = World("a")
    world.shown = TopicShown(world.topics, "b", world.wake)
    world.update()
    world.publish("a", "2")
    world.publish("b", "3")
    sent = world.update()
    assert sent is not None
    assert (world.woken, sent["message"]["payload"]) == (1, "3")


def test_each_event_is_sent_and_too_many_are_counted() -> None:
    world = World("a/event")
    world.shown = EventsShown(world.topics, ["+/event"], world.wake)
    assert world.update() is None
    for topic, payload in (("a/event", "1"), ("a/event", "2"), ("b/event", "3"), ("c", "4")):
        world.publish(topic, payload)
    sent = world.update()
    assert sent is not None
    assert ([each["payload"] for each in sent["events"]], sent["skipped"]) == (["1", "2", "3"], 0)
    for number in range(MOST_EVENTS + 5):
        world.publish("b/event", str(number))
    sent = world.update()
    assert sent is not None
    assert (sent["events"][0]["payload"], sent["skipped"]) == ("5", 5)
