"""The conversation with one OCPP charger on one connection: its frames in order, its answers, and the requests to it.

A frame is answered only when the broker has it and everything that follows from it. While the broker is away, the frame waits,
and so does the charger, which sends it again if its patience ends or the connection does.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

from adapters.chargers.ocpp import frames
from adapters.chargers.ocpp.dialect import Dialect, Outcome
from adapters.chargers.ocpp.frames import Call, Failure, Result, Unusable
from broker.contract.charging.topics import OCPP, RemoteAction, RemoteAnswer
from broker.message import Publication

ANSWER_S = 30.0
"""Longest time for the answer to a request, from when it was made."""
MOST_WAITING = 100
"""Frames of a charger that may wait; a charger should wait for each answer before it sends the next call."""
TOO_MANY = "does not wait for the answers to its calls"


class Line(Protocol):
    """An open websocket."""

    def send(self, text: bytes) -> None:
        """Send a text frame."""
        ...

    def drop(self, reason: str) -> None:
        """Close it."""
        ...


class Desk(Protocol):
    """What a conversation needs from the adapter."""

    def take(self, charger: str, call: Call) -> tuple[Outcome, list[Publication]]:
        """Take a call; return what follows from it, and what to publish beside its frame.

        Raises:
            Unusable: it cannot be used.
        """
        ...

    def taken(self, charger: str, outcome: Outcome) -> None:
        """Note that the broker has what followed from a call."""
        ...

    def reject(self, charger: str, payload: bytes, reason: str) -> Publication:
        """Return the publication that rejects a frame."""
        ...

    async def deliver(self, publication: Publication, wanted: Callable[[], bool]) -> bool:
        """Publish until the broker has it; return whether it has, which may be no once it is not `wanted` any more."""
        ...

    def start(self, work: Awaitable[None]) -> None:
        """Run work in the background."""
        ...


@dataclass(slots=True)
class _Asked:
    """A request to the charger, from when it was made until it is answered."""

    id: str
    frame: bytes
    action: RemoteAction
    answer: Callable[[RemoteAnswer], None]
    timer: asyncio.TimerHandle | None = None
    sent: bool = False


class Conversation:
    """The conversation with a charger.

    Args:
        charger: its id.
        line: its connection.
        dialect: the version of OCPP that it speaks.
        desk: decides and publishes.
    """

    def __init__(self, charger: str, line: Line, dialect: Dialect, desk: Desk) -> None:
        self._charger, self.line, self.dialect, self._desk = charger, line, dialect, desk
        self._topic = OCPP.template.topic(id=charger)
        self._frames: deque[bytes] = deque()
        self._working = False
        self._asked: deque[_Asked] = deque()
        self.open = True

    def receive(self, payload: bytes) -> None:
        """Take a frame; it is handled when those before it are."""
        if len(self._frames) >= MOST_WAITING:
            self.line.drop(TOO_MANY)
            return
        self._frames.append(payload)
        if not self._working:
            self._working = True
            self._desk.start(self._work())

    def ask(self, action: RemoteAction, name: str, payload: dict[str, Any], answer: Callable[[RemoteAnswer], None]) -> None:
        """Ask the charger for something, once those before it are answered; `answer` is called exactly once."""
        unique_id = str(uuid4())
        asked = _Asked(unique_id, frames.call(unique_id, name, payload), action, answer)
        asked.timer = asyncio.get_running_loop().call_later(
            ANSWER_S, self._finish, asked, RemoteAnswer(action, error=f"the charger has not answered within {ANSWER_S:.0f} s")
        )
        self._asked.append(asked)
        self._send_next()

    def close(self) -> None:
        """End the conversation: the connection has ended."""
        self.open = False
        self._frames.clear()
        while self._asked:
            self._finish(self._asked[0], RemoteAnswer(self._asked[0].action, error="the charger has disconnected"))

    async def _work(self) -> None:
        while self._frames:
            await self._handle(self._frames.popleft())
        self._working = False

    async def _handle(self, payload: bytes) -> None:
        try:
            frame = frames.read(payload)
        except Unusable as error:
            if error.unique_id is None:
                await self._publish(self._desk.reject(self._charger, payload, str(error)))
            else:
                await self._refuse(payload, error.unique_id, error)
            return
        if isinstance(frame, Call):
            await self._answer(payload, frame)
        elif await self._publish(self._verbatim(payload)):
            await self._take_answer(payload, frame)

    async def _answer(self, payload: bytes, call: Call) -> None:
        try:
            outcome, publications = self._desk.take(self._charger, call)
        except Unusable as error:
            await self._refuse(payload, call.id, error)
            return
        if outcome.unused is not None:
            publications.append(self._desk.reject(self._charger, payload, outcome.unused))
        for each in (self._verbatim(payload), *publications):
            if not await self._publish(each):
                return
        self._desk.taken(self._charger, outcome)
        self.line.send(frames.result(call.id, outcome.answer))

    async def _refuse(self, payload: bytes, unique_id: str | int, error: Unusable) -> None:
        if await self._publish(self._verbatim(payload)):
            self.line.send(frames.error(unique_id, self.dialect.error_code(error.code), str(error)))

    async def _publish(self, publication: Publication) -> bool:
        return await self._desk.deliver(publication, lambda: self.open)

    def _verbatim(self, payload: bytes) -> Publication:
        return Publication(topic=self._topic, payload=payload, qos=OCPP.qos, plant=OCPP.plant)

    async def _take_answer(self, payload: bytes, frame: Result | Failure) -> None:
        asked = next((each for each in self._asked if each.sent and each.id == frame.id), None)
        if asked is None:
            await self._publish(self._desk.reject(self._charger, payload, "an answer to no request that is waiting for one"))
            return
        self._finish(asked, _remote_answer(asked.action, frame))

    def _finish(self, asked: _Asked, answer: RemoteAnswer) -> None:
        assert asked.timer is not None
        asked.timer.cancel()
        self._asked.remove(asked)
        asked.answer(answer)
        self._send_next()

    def _send_next(self) -> None:
        """Send the next request: there is one at a time (OCPP-J 1.6 and 2.0.1, 4.1.1)."""
        if self.open and self._asked and not self._asked[0].sent:
            self._asked[0].sent = True
            self.line.send(self._asked[0].frame)


def _remote_answer(action: RemoteAction, frame: Result | Failure) -> RemoteAnswer:
    if isinstance(frame, Failure):
        return RemoteAnswer(action, error=frame.text)
    status = frame.payload.get("status")
    if isinstance(status, str):
        return RemoteAnswer(action, status)
    return RemoteAnswer(action, error="the charger has answered without a status")
