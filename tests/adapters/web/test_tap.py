"""The connection of the pages: what the recording knows comes in turns, and reaches views that are open already."""

import asyncio
from collections.abc import Iterable

import pytest

from adapters.web import tap as module
from adapters.web.shown import LatestShown
from adapters.web.tap import TURN, Tap
from broker.message import Message
from broker.mqtt.options import Address
from broker.mqtt.packets import Delivery

TOPICS = 20 * TURN


class NoConnection:
    """A connection that is never made."""

    async def run(self) -> None:
        await asyncio.Event().wait()


def new_tap(monkeypatch: pytest.MonkeyPatch) -> Tap:
    async def recall() -> Iterable[tuple[Message, float]]:
        return ((Message(topic=f"a/{number}", payload=b"old"), 1.0) for number in range(TOPICS))

    made = Tap(Address(host="127.0.0.1", port=1), "tap", recall)
    monkeypatch.setattr(made, "_connection", NoConnection)
    return made


def delivery(topic: str, properties: bytes = b"") -> Delivery:
    return Delivery(topic, b"new", 0, False, False, 0, properties)


def test_recalled_topics_come_in_turns_and_yield_to_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        tap, turns = new_tap(monkeypatch), 0
        tap.add(lambda: None)
        shown = LatestShown(tap.topics, ["a/1"])
        tap.on_deliveries([delivery("a/2")])
        while len(tap.topics) < TOPICS:
            await asyncio.sleep(0)
            turns += 1
        assert turns >= TOPICS / TURN
        sent = shown.update(0.0)
        assert sent is not None
        assert [each["payload"] for each in sent["latest"]] == ["old"]
        newer = tap.topics.get("a/2")
        assert newer is not None
        assert newer.message is not None
        assert newer.message.payload == b"new"
        tap.stop()

    asyncio.run(run())


def test_large_properties_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_PROPERTIES", 8)
    tap = Tap(Address(host="127.0.0.1", port=1), "tap")
    tap.on_deliveries(
        [delivery("a", bytes([38, 0, 3, *b"key", 0, 5, *b"value"])), delivery("b", bytes([38, 0, 1, 107, 0, 1, 118]))]
    )
    kept = {topic.name: topic.message.properties for topic in tap.topics if topic.message is not None}
    assert kept == {"a": (), "b": (("k", "v"),)}
