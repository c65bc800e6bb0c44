"""The websocket of one open page.

The page sends requests as JSON, each with an `id` that it chooses:

    {"id": 1, "show": "tree", "open": ["heating"], "filter": "", "start": 0, "count": 60}
    {"id": 2, "show": "topic", "topic": "heating/room-1/state"}
    {"id": 3, "show": "latest", "filters": ["components/+/state"]}
    {"id": 5, "show": "events", "filters": ["fastening/+/event"]}     each message from now on
    {"id": 1, "show": "tree", "at": 1790000000, …}      as of an instant, s since 1970
    {"id": 1, "hide": true}
    {"id": 4, "ask": "messages", "with": {"topic": "…"}}
    {"id": 4, "cancel": true}

The server sends `{"id": 0, "interruptions": ["…"]}` at once when something that the page needs is lost or back, and twice a
second otherwise, so that a page notices a dead connection.

What is shown is sent when it has changed, ten times a second at most; a page of which nothing changes costs nothing. While a
page takes no more, nothing is collected for it but the latest values. An answer to `ask` comes once, as
`{"id": 4, "rows": […]}` or `{"id": 4, "error": "…"}`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from adapters.client.errors import ClientError
from adapters.web.live import LiveTopics
from adapters.web.shown import EventsShown, LatestShown, Shown, TopicShown, TreeShown
from adapters.web.tap import Tap
from broker.errors import InvalidTopic
from broker.log import Log

log = Log(__name__)

PERIOD_S = 0.1
HEARTBEAT_S = 0.5
GATHER_S = 0.005
"""From the first change to sending: what is published together is then shown together, not a period later."""
TRY_AGAIN_LATER = 1013
"""Code with which a page is closed that cannot be served now (RFC 6455, registered)."""
MOST_SHOWN = 64
MOST_ASKED = 16
LARGEST_REQUEST = 64 * 1024

Ask = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
Past = Callable[[float], Awaitable[LiveTopics]]


class WrongRequest(Exception):
    """A request of a page that cannot be understood."""


class Page:
    """One open page.

    Args:
        socket: accepted already.
        tap: on the broker.
        ask: answers a question by its name and parameters; raises ClientError.
        past: returns the topics as of an instant, s since 1970; raises ClientError.
        interruptions: returns what keeps the page from being complete, in sentences.
    """

    def __init__(self, socket: WebSocket, tap: Tap, ask: Ask, past: Past, interruptions: Callable[[], list[str]]) -> None:
        self._socket, self._tap, self._ask, self._past = socket, tap, ask, past
        self._interruptions = interruptions
        self._woken, self._wanted = asyncio.Event(), asyncio.Event()
        """Set when there is something to send, and when it is sent without waiting for the period: something else is shown."""
        self._remembered: tuple[float, LiveTopics] | None = None
        """The last instant of the past that was shown."""
        self._shown: dict[int, Shown] = {}
        self._asked: dict[int, asyncio.Task[None]] = {}
        self._sending = asyncio.Lock()
        self._closing: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def is_idle(self) -> bool:
        """Whether it shows and asks nothing: it has only just been opened, or is hidden, or is no page."""
        return not self._shown and not self._asked

    def close(self, reason: str) -> None:
        """Close the page, for a reason that its user reads."""
        if not self._closing.done():
            self._closing.set_result(reason)

    async def run(self) -> None:
        """Serve the page until it is closed."""
        self._tap.add(self._woken.set)
        sending = asyncio.create_task(self._send_changes())
        taking = asyncio.create_task(self._take_requests())
        tasks = {sending, taking}
        ends: set[asyncio.Future[Any]] = {sending, taking, self._closing}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._closing.done():
                await self._hang_up(self._closing.result())
            for each in tasks:
                if each.done():
                    each.result()
        finally:
            self._tap.remove(self._woken.set)
            for shown in self._shown.values():
                shown.close()
            asked = set(self._asked.values())
            for task in tasks | asked:
                task.cancel()
            await asyncio.wait(tasks | asked)

    async def _hang_up(self, reason: str) -> None:
        with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
            async with asyncio.timeout(1):
                await self._socket.close(TRY_AGAIN_LATER, reason)

    async def _take_requests(self) -> None:
        with suppress(WebSocketDisconnect, KeyError):  # KeyError: a binary message
            while True:
                await self._take(await self._socket.receive_text())

    async def _send_changes(self) -> None:
        clock = asyncio.get_running_loop().time
        reported: list[str] | None = None
        reported_s = 0.0
        while True:
            self._woken.clear()
            self._wanted.clear()
            begun_s = clock()
            interruptions = self._interruptions()
            if interruptions != reported or begun_s - reported_s >= HEARTBEAT_S:
                reported, reported_s = interruptions, begun_s
                await self._send({"id": 0, "interruptions": interruptions})
            now_s = time.time()
            for number, shown in list(self._shown.items()):
                if (content := shown.update(now_s)) is not None:
                    await self._send({"id": number, **content})
                    if content.get("more"):
                        self._hurry()
            await _set_by(self._woken, reported_s + HEARTBEAT_S)
            if not self._wanted.is_set():
                await asyncio.sleep(GATHER_S)
            await _set_by(self._wanted, begun_s + PERIOD_S)

    async def _send(self, content: dict[str, Any]) -> None:
        async with self._sending:
            with suppress(WebSocketDisconnect, RuntimeError):  # it is closed: `run` ends with the next request it waits for
                await self._socket.send_text(orjson.dumps(content).decode())

    async def _take(self, text: str) -> None:
        number = 0
        try:
            if len(text) > LARGEST_REQUEST:
                raise WrongRequest("the request is too large")
            request = orjson.loads(text)
            if not isinstance(request, dict) or type(request.get("id")) is not int:
                raise WrongRequest("a request is an object with a number `id`")
            number = request["id"]
            self._begin(number, request)
        except (WrongRequest, ValueError) as error:
            await self._send({"id": number, "error": str(error)})

    def _begin(self, number: int, request: dict[str, Any]) -> None:
        if request.get("hide"):
            self._hide(number)
            self._cancel(number)
        elif request.get("cancel"):
            self._cancel(number)
        elif "show" in request:
            if number not in self._shown and len(self._shown) >= MOST_SHOWN:
                raise WrongRequest(f"{MOST_SHOWN} live parts are shown already")
            at_s = request.get("at")
            if at_s is None:
                self._cancel(number)
                self._show(number, request, self._tap.topics)
            elif isinstance(at_s, int | float):
                self._hide(number)
                self._replace(number, self._show_past(request, float(at_s)))
            else:
                raise WrongRequest("`at` is a number: seconds since 1970")
        elif isinstance(name := request.get("ask"), str):
            self._replace(number, self._answer(name, request.get("with") or {}))
        else:
            raise WrongRequest("a request has one of show, hide, ask, cancel")

    def _cancel(self, number: int) -> None:
        if (task := self._asked.pop(number, None)) is not None:
            task.cancel()

    def _replace(self, number: int, work: Callable[[int], Coroutine[Any, Any, None]]) -> None:
        self._cancel(number)
        if len(self._asked) >= MOST_ASKED:
            raise WrongRequest(f"{MOST_ASKED} questions are being answered already")
        self._asked[number] = asyncio.create_task(self._work(number, work))

    async def _work(self, number: int, work: Callable[[int], Coroutine[Any, Any, None]]) -> None:
        """Do what was asked. It counts until its answer is sent, so that a page that takes no answers cannot pile them up."""
        try:
            await work(number)
        except (ClientError, InvalidTopic, WrongRequest) as error:
            await self._send({"id": number, "error": str(error)})
        except Exception:  # an answer that never comes would be worse
            log.exception("question-failed", "a question of a page failed")
            await self._send({"id": number, "error": "the web server failed to answer: its log says why"})
        finally:
            if self._asked.get(number) is asyncio.current_task():
                del self._asked[number]

    def _show_past(self, request: dict[str, Any], at_s: float) -> Callable[[int], Coroutine[Any, Any, None]]:
        async def work(number: int) -> None:
            if self._remembered is None or self._remembered[0] != at_s:
                self._remembered = at_s, await self._past(at_s)
            self._show(number, request, self._remembered[1])

        return work

    def _show(self, number: int, request: dict[str, Any], topics: LiveTopics) -> None:
        self._hide(number)
        self._shown[number] = self._made(request, topics)
        self._hurry()

    def _hurry(self) -> None:
        self._wanted.set()
        self._woken.set()

    def _hide(self, number: int) -> None:
        if (shown := self._shown.pop(number, None)) is not None:
            shown.close()

    def _made(self, request: dict[str, Any], topics: LiveTopics) -> Shown:
        wake = self._woken.set
        match request:
            case {"show": "tree", "open": list(opened), "filter": str(text), "start": int(start), "count": int(count)}:
                return TreeShown(topics, [each for each in opened if isinstance(each, str)], text, start, count, wake)
            case {"show": "topic", "topic": str(name)}:
                return TopicShown(topics, name, wake)
            case {"show": "latest", "filters": list(filters)} if all(isinstance(each, str) for each in filters):
                return LatestShown(topics, filters, wake)
            case {"show": "events", "filters": list(filters)} if all(isinstance(each, str) for each in filters):
                return EventsShown(topics, filters, wake)
        raise WrongRequest(f"nothing can be shown for {str(request)[:200]}")

    def _answer(self, name: str, parameters: dict[str, Any]) -> Callable[[int], Coroutine[Any, Any, None]]:
        async def work(number: int) -> None:
            await self._send({"id": number, **await self._ask(name, parameters)})

        return work


async def _set_by(event: asyncio.Event, deadline_s: float) -> None:
    """Wait until an event is set, or an instant on the loop's clock."""
    with suppress(TimeoutError):
        async with asyncio.timeout_at(deadline_s):
            await event.wait()
