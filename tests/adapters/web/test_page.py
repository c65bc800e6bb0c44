"""One open page: requests of every kind, and a page that takes no answers."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
import pytest

from adapters.web import page
from adapters.web.live import LiveTopics
from adapters.web.page import Page
from adapters.web.tap import Tap
from broker.message import Message
from broker.mqtt.options import Address


class Socket:
    """A websocket whose client reads, until `reading` is cleared."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[str] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.reading = asyncio.Event()
        self.reading.set()

    async def receive_text(self) -> str:
        return await self.requests.get()

    async def send_text(self, text: str) -> None:
        await self.reading.wait()
        self.sent.append(orjson.loads(text))

    async def close(self, code: int, reason: str) -> None:
        self.closed = code, reason

    def of(self, number: int) -> list[dict[str, Any]]:
        return [each for each in self.sent if each["id"] == number]


class OpenTap(Tap):
    """A tap without a connection."""

    def __init__(self) -> None:
        super().__init__(Address(host="127.0.0.1", port=1), "tap")

    def add(self, page: Any) -> None:
        self._pages.add(page)


class World:
    """A page, and how many questions run or ended."""

    def __init__(self) -> None:
        self.socket, self.asked, self.cancelled = Socket(), 0, 0
        self.tap, self.looks = OpenTap(), 0
        self.page = Page(self.socket, self.tap, self._ask, self._past, self._interruptions)  # type: ignore[arg-type]

    def _interruptions(self) -> list[str]:
        self.looks += 1
        return []

    async def _ask(self, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self.asked += 1
        if name == "slow":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if name == "broken":
            raise OverflowError("too large")
        return {"rows": [parameters]}

    async def _past(self, at_s: float) -> LiveTopics:
        await asyncio.sleep(at_s)
        return LiveTopics()

    async def send(self, *requests: Any) -> None:
        for each in requests:
            self.socket.requests.put_nowait(each if isinstance(each, str) else orjson.dumps(each).decode())
        await asyncio.sleep(0.01)


def run(act: Callable[[World], Coroutine[Any, Any, None]]) -> World:
    async def main() -> World:
        world = World()
        running = asyncio.create_task(world.page.run())
        await asyncio.sleep(0)
        await act(world)
        assert not running.done()
        running.cancel()
        await asyncio.wait({running})
        return world

    return asyncio.run(main())


@pytest.mark.parametrize(
    "request_text",
    ["", "[]", "1e999", '{"id": true, "hide": true}', '{"id": 0.5}', '{"id": 1}', '{"id": 1, "show": "tree", "at": "x"}',
     '{"id": 1, "show": "latest", "filters": [1]}', '{"id": 1, "ask": 5}', "{" * 5000],
)  # fmt: skip
def test_a_wrong_request_gets_an_error_and_the_page_lives(request_text: str) -> None:
    async def act(world: World) -> None:
        await world.send(request_text, {"id": 7, "ask": "rows"})

    world = run(act)
    assert any("error" in each for each in world.socket.sent)
    assert world.socket.of(7) == [{"id": 7, "rows": [{}]}]


def test_a_tree_with_huge_numbers_is_shown() -> None:
    async def act(world: World) -> None:
        tree = {"id": 1, "show": "tree", "open": [], "filter": "", "start": 2**64 - 1, "count": -5}
        await world.send(tree, {**tree, "id": 2, "start": -(2**63), "count": 2**64 - 1})

    world = run(act)
    assert [world.socket.of(number)[0]["total"] for number in (1, 2)] == [0, 0]


def test_a_question_that_breaks_is_answered() -> None:
    async def act(world: World) -> None:
        await world.send({"id": 1, "ask": "broken"})

    assert "log says why" in run(act).socket.of(1)[0]["error"]


def test_a_cancelled_question_and_those_of_a_closed_page_end() -> None:
    async def act(world: World) -> None:
        await world.send(*({"id": number, "ask": "slow"} for number in (1, 2, 3)))
        await world.send({"id": 1, "cancel": True})
        assert world.cancelled == 1
        await world.send({"id": 2, "hide": True})

    world = run(act)
    assert (world.cancelled, world.socket.of(1)) == (3, [])


def test_the_past_of_a_hidden_part_does_not_come_back() -> None:
    async def act(world: World) -> None:
        await world.send({"id": 1, "show": "topic", "topic": "a", "at": 0.02}, {"id": 1, "hide": True})
        await asyncio.sleep(0.05)

    assert run(act).socket.of(1) == []


def test_a_page_that_takes_nothing_piles_no_answers_up() -> None:
    async def act(world: World) -> None:
        world.socket.reading.clear()
        await world.send(*({"id": number, "ask": "rows"} for number in range(1, 1001)))

    assert run(act).asked == page.MOST_ASKED


def test_a_page_of_which_nothing_changes_hardly_wakes() -> None:
    began_s = time.monotonic()

    async def act(world: World) -> None:
        tree = {"show": "tree", "open": [], "filter": "a/#", "start": 0, "count": 60}
        await world.send({"id": 1, **tree}, {"id": 2, "show": "latest", "filters": ["a/+"]})
        for _ in range(1000):
            world.tap.topics.take(Message(topic="b", payload=b"1"), 0.0)
            await asyncio.sleep(0.001)

    assert run(act).looks <= 2 * (time.monotonic() - began_s) + 3


def test_changes_come_ten_times_a_second_at_most() -> None:
    began_s = time.monotonic()

    async def act(world: World) -> None:
        await world.send({"id": 2, "show": "latest", "filters": ["a"]})
        for number in range(500):
            world.tap.topics.take(Message(topic="a", payload=b"%d" % number), 0.0)
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.15)

    sent = run(act).socket.of(2)
    assert 4 <= len(sent) <= 10 * (time.monotonic() - began_s) + 2
    assert sent[-1]["latest"][0]["payload"] == "499"


def test_a_closed_page_says_why_and_watches_nothing() -> None:
    async def main() -> World:
        world = World()
        running = asyncio.create_task(world.page.run())
        await world.send({"id": 1, "show": "latest", "filters": ["a"]})
        world.page.close("enough")
        await asyncio.wait_for(running, 5)
        return world

    world = asyncio.run(main())
    assert (world.socket.closed, world.tap.topics.growing) == ((page.TRY_AGAIN_LATER, "enough"), {})
