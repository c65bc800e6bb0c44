"""The OCPP chargers of one adapter: what is known of each, who is connected, and what is published about them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from urllib.parse import unquote

from adapters.chargers.ocpp.conversation import Conversation, Line
from adapters.chargers.ocpp.dialect import OCPP16, CannotAsk, Context, Outcome
from adapters.chargers.ocpp.frames import Call
from adapters.chargers.ocpp.numbers import TransactionNumbers
from adapters.chargers.ocpp.transactions import session, with_transaction
from adapters.chargers.ocpp.versions import dialect
from adapters.chargers.websocket import Incoming, Refusal
from broker.contract.charging.topics import (
    ANSWER,
    CHARGE_POINT,
    OCPP,
    REMOTE,
    SESSION,
    SOC,
    ChargePoint,
    RemoteAction,
    RemoteAnswer,
    RemoteRequest,
    SocData,
    SocEvent,
)
from broker.contract.components.topics import removal
from broker.errors import BrokerUnavailable, InvalidTopic, Rejected
from broker.message import Message, Publication, encode
from broker.runtime.rejection import rejection

PATH = "ocpp"
LONGEST_ID = 256
DELIVERY_TIMEOUT_S = 5.0
RETRY_S = 0.5


class Stations:
    """OCPP chargers, connected here or not.

    Args:
        adapter: name of the component.
        publish: publishes on the bus.
        deliver: publishes and waits for the broker, a time in seconds at most; raises `BrokerUnavailable`.
        numbers: for transactions of OCPP 1.6.
        accepts: whether an id tag may charge.
    """

    def __init__(
        self,
        adapter: str,
        publish: Callable[[Publication], None],
        deliver: Callable[[Publication, float], Awaitable[None]],
        numbers: TransactionNumbers,
        accepts: Callable[[str], bool],
    ) -> None:
        self._adapter, self._publish, self._deliver = adapter, publish, deliver
        self._numbers, self._accepts = numbers, accepts
        self._points: dict[str, ChargePoint] = {}
        self._published: dict[str, ChargePoint] = {}
        """As the broker has them."""
        self._conversations: dict[str, Conversation] = {}
        self._tasks: set[asyncio.Future[None]] = set()
        self._failure: BaseException | None = None
        self.widgets: Mapping[str, str] = {}
        self.restored = False
        """Whether everything that the broker retains about chargers has arrived."""

    def __contains__(self, charger: str) -> bool:
        return charger in self._conversations

    def check(self) -> None:
        """Raise the error with which work in the background has ended, which is a bug, if there was one."""
        if self._failure is not None:
            raise self._failure

    def admit(self, path: str) -> str | Refusal | None:
        """Return the id that a path names, or why it is refused; None for a path of other clients."""
        if not is_ocpp(path):
            return None
        parts = unquote(path.partition("?")[0]).split("/")
        charger = parts[-1]
        if len(parts) != 3 or not _can_be_id(charger):
            text = (
                f"the path is /{PATH}/ID, and an ID has 1 to {LONGEST_ID} characters, none of them / + # or a control character"
            )
            return Refusal(HTTPStatus.NOT_FOUND, text)
        if not self.restored:
            return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the transactions so far are not known yet: is the broker running?")
        return charger

    def on_point(self, charger: str, message: Message) -> None:
        """Take what is known of a charger, from this adapter or another one.

        Raises:
            Rejected: it cannot be read.
        """
        if not message.payload:
            self._forget(charger)
            return
        if message.stamp.source == self._adapter and not message.retain and charger in self._points:
            return  # it is our own, and a newer one may be on its way
        point = CHARGE_POINT.decode(message)
        if point.protocol == OCPP16:
            for each in point.transactions:
                self._numbers.seen(int(each.id))
        if charger not in self._conversations:
            self._points[charger] = self._published[charger] = point
        else:
            self._merge(charger, point)

    def _merge(self, charger: str, point: ChargePoint) -> None:
        """Add what another adapter has learned of a charger that is connected here by now, or a restarted broker restored."""
        merged = self._points[charger]
        known = {each.id: each for each in merged.transactions}
        for each in point.transactions:
            ours = known.get(each.id)
            if ours is None or (ours.ended_at is None and each.ended_at is not None):
                merged = with_transaction(merged, each)
        self._points[charger], self._published[charger] = merged, point
        if merged != point:
            self._publish_point(charger)

    def opened(self, charger: str, line: Line, subprotocol: str) -> None:
        """Take a connection."""
        self._end(charger)
        point = self._points.get(charger)
        if point is None or point.protocol != subprotocol:
            point = ChargePoint(protocol=subprotocol)
        self._points[charger] = point
        self._conversations[charger] = Conversation(charger, line, dialect(subprotocol), self)
        if self._points[charger] != self._published.get(charger):
            self._publish_point(charger)

    def received(self, charger: str, message: Incoming) -> None:
        """Take a frame of a charger that is connected."""
        if message.text:
            self._conversations[charger].receive(message.payload)
        else:
            self._publish(self.reject(charger, message.payload, "a binary frame: a charger sends text"))

    def leave(self, charger: str) -> None:
        """End the conversation with a charger that has connected again without OCPP, and forget what is known of it."""
        self._end(charger)
        if self._points.pop(charger, None) is not None:
            self._published.pop(charger, None)
            self._publish(removal(CHARGE_POINT, charger))

    def closed(self, charger: str, line: Line) -> None:
        """Take the end of a connection; one that was replaced is ignored."""
        conversation = self._conversations.get(charger)
        if conversation is not None and conversation.line is line:
            self._end(charger)

    def request(self, charger: str, message: Message, away: str | None) -> list[Publication]:
        """Put an operator's request to a charger; the answer follows.

        Args:
            charger: its id.
            message: with the request.
            away: why it cannot be asked, if it is not connected here; None where another adapter will answer.

        Raises:
            Rejected: the request cannot be used, and there is no topic for an answer.
        """
        if message.retain:
            raise Rejected("a retained request may be of any age: publish requests without the retain flag")
        if message.response_topic is not None and ANSWER.parse(message.response_topic) is None:
            raise Rejected(f"{message.response_topic!r} is not a response topic of this component: {ANSWER.template.text}")
        conversation = self._conversations.get(charger)
        if conversation is None and away is None:
            return []
        action: RemoteAction | None = None
        try:
            request = _read_request(message)
            action = request.action
            if conversation is None:
                raise CannotAsk(away)
            name, payload = conversation.dialect.request(self._points[charger], request, self._context(charger))
        except (Rejected, CannotAsk) as error:
            if message.response_topic is None:
                raise Rejected(str(error)) from error
            return [_answer(message, RemoteAnswer(action, error=str(error)))]
        conversation.ask(request.action, name, payload, partial(self._publish_answer, message))
        return []

    def take(self, charger: str, call: Call) -> tuple[Outcome, list[Publication]]:
        """Take a call; return what follows from it, and what to publish beside its frame.

        The number of a transaction is published before its session: after a kill between the two, the charger repeats its call,
        the transaction is known, and the session is published then.

        Raises:
            Unusable: it cannot be used.
        """
        conversation = self._conversations.get(charger)
        point = self._points[charger]
        assert conversation is not None, "frames of a connection that has ended are not handled"
        outcome = conversation.dialect.take(point, call, self._context(charger))
        self._points[charger] = outcome.point
        widget = self.widgets.get(charger)
        publications: list[Publication] = []
        if outcome.point != self._published.get(charger):
            publications.append(CHARGE_POINT.publication(outcome.point, id=charger))
        publications += [SESSION.publication(session(each, widget), id=charger) for each in outcome.sessions]
        if outcome.soc is not None:
            event = SocEvent(event="StateOfCharge", data=SocData(outcome.soc))
            publications.append(SOC.publication(event, id=charger))
        return outcome, publications

    def taken(self, charger: str, outcome: Outcome) -> None:
        """Note that the broker has what followed from a call."""
        self._published[charger] = outcome.point

    def reject(self, charger: str, payload: bytes, reason: str) -> Publication:
        """Return the publication that rejects a frame."""
        return rejection(self._adapter, OCPP.template.topic(id=charger), payload, reason)

    async def deliver(self, publication: Publication, wanted: Callable[[], bool]) -> bool:
        """Publish until the broker has it; return whether it has, which may be no once it is not `wanted` any more."""
        while wanted():
            try:
                await self._deliver(publication, DELIVERY_TIMEOUT_S)
            except BrokerUnavailable:
                await asyncio.sleep(RETRY_S)
            else:
                return True
        return False

    def start(self, work: Awaitable[None]) -> None:
        """Run work in the background."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Future[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            self._failure = self._failure or task.exception()

    def _context(self, charger: str) -> Context:
        return Context(charger, datetime.now(UTC), self._numbers.take, self._accepts)

    def _end(self, charger: str) -> None:
        if (conversation := self._conversations.pop(charger, None)) is not None:
            conversation.close()

    def _forget(self, charger: str) -> None:
        self._published.pop(charger, None)
        if charger not in self._conversations:
            self._points.pop(charger, None)

    def _publish_point(self, charger: str) -> None:
        self._published[charger] = self._points[charger]
        self._publish(CHARGE_POINT.publication(self._points[charger], id=charger))

    def _publish_answer(self, request: Message, answer: RemoteAnswer) -> None:
        if request.response_topic is not None:
            self._publish(_answer(request, answer))


def is_ocpp(path: str) -> bool:
    """Return whether a path is that of an OCPP charger."""
    return path.startswith(f"/{PATH}/") or path == f"/{PATH}"


def _read_request(message: Message) -> RemoteRequest:
    request = REMOTE.decode(message)
    if request.action is RemoteAction.START and not request.id_tag:
        raise Rejected('to start a transaction, name the id tag: {"action":"start","id_tag":"…"}')
    if request.connector is not None and request.connector < 1:
        raise Rejected("connectors are numbered from 1")
    return request


def _answer(request: Message, answer: RemoteAnswer) -> Publication:
    return Publication(topic=request.response_topic or "", payload=encode(answer), correlation_data=request.correlation_data)


def _can_be_id(text: str) -> bool:
    try:
        OCPP.template.topic(id=text)
    except InvalidTopic:
        return False
    return len(text) <= LONGEST_ID
