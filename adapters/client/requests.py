"""Requests over a connection to the broker, and their replies: the blocking shell of `broker.exchange`."""

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from adapters.client.bus import Bus, Received
from adapters.client.errors import BrokenReply, NoReply, NotOnline
from broker.contract.components.topics import STATE, WARNING, ComponentState, ComponentWarning, Presence
from broker.errors import Rejected
from broker.exchange import Exchange, Final, IncompleteReply, MalformedReply, Part
from broker.message import Message, Publication, decode


@dataclass(frozen=True, slots=True)
class Responder:
    """A component that replies to requests.

    Args:
        name: as messages show it, such as `energy normalizer`.
        component: its name on the bus; None where its state is not watched.
        look: where to look when it does not reply, as part of a fix.
    """

    name: str
    component: str | None
    look: str

    @property
    def state_topic(self) -> str | None:
        """The topic of its state, if that is watched."""
        return None if self.component is None else STATE.template.topic(component=self.component)

    def is_online(self, bus: Bus) -> bool:
        """Return whether its retained state is `online`."""
        topic = self.state_topic
        retained = None if topic is None else bus.retained(topic).get(topic)
        return retained is not None and _presence(retained) is Presence.ONLINE

    def take(self, exchange: Exchange, message: Message) -> Part | Final | None:
        """Take a message that arrives while a reply is awaited; None where it brings nothing new.

        Raises:
            NotOnline: the responder has stopped.
            BrokenReply: a part of the reply was lost, or a message does not follow the protocol.
        """
        if message.topic == self.state_topic and _presence(message) is Presence.OFFLINE:
            raise NotOnline(
                f"the {self.name} stopped before it had answered", f"repeat the request when it is back; {self.look}"
            )
        try:
            return exchange.take(message)
        except IncompleteReply as error:
            raise BrokenReply(f"{error}: the broker's queue for this client was full", _ASK_FOR_LESS) from error
        except MalformedReply as error:
            raise BrokenReply(f"the {self.name} sent something else: {error}", SAME_RELEASE) from error

    def silent(self, patience_s: float) -> NoReply:
        """Return the error for a responder that does not reply in time."""
        return NoReply(f"the {self.name} did not answer within {patience_s:.0f} s", f"{self.look}, or ask for less")


SAME_RELEASE = "use the same release on both sides"
_ASK_FOR_LESS = "ask for fewer rows (--max-rows, --since), write to a file instead of a slow pipe, or raise max_queued_bytes"


class Requests:
    """Requests to one responder, one at a time. Messages that are no reply are kept in their order for `receive`.

    Call `subscribe` before the first request, and after a connection that did not resume its session.
    """

    def __init__(
        self, bus: Bus, responder: Responder, response_topic: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bus, self._responder, self._clock = bus, responder, clock
        self._others: deque[Received] = deque()
        self.exchange = Exchange(response_topic, secrets.token_bytes(8))

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that must be subscribed."""
        state_topic = self._responder.state_topic
        return (self.exchange.response_topic,) if state_topic is None else (self.exchange.response_topic, state_topic)

    def subscribe(self) -> None:
        """Subscribe to `topics`.

        Raises:
            Refused: the broker does not allow it.
            Unreachable: the connection was lost or the broker does not answer.
        """
        self._bus.subscribe(*self.topics)

    def publish(self, request: Publication, expiry_s: int | None = None) -> None:
        """Publish a request of `exchange`, which the broker drops after `expiry_s`, and do not wait for the reply.

        Raises:
            Refused: the broker does not let this account publish it.
            NotOnline: its topic has no subscriber.
            Unreachable: the connection was lost or the broker does not answer.
        """
        if not self._bus.publish(request, expiry_s):
            fix = f"start it with `make up`, or {self._responder.look}"
            raise NotOnline(f"no {self._responder.name} listens on {request.topic}", fix)

    def replies(self, publication: Publication, patience_s: float, expiry_s: int | None = None) -> Iterator[Part | Final]:
        """Publish a request and return the messages of its reply as they arrive, the final one last.

        Each of them has `patience_s` to arrive.

        Raises:
            Refused: the broker does not let this account publish it.
            NotOnline: the responder is not there, or stops before it has replied.
            NoReply: no message in time.
            BrokenReply: a part of the reply was lost, or a message does not follow the protocol.
            Unreachable: the connection was lost or the broker does not answer.
        """
        request = self.exchange.request(publication)
        try:
            self.publish(request, expiry_s)
            while True:
                event = self._next(self._clock() + patience_s, patience_s)
                yield event
                if isinstance(event, Final):
                    return
        finally:
            self.exchange.forget(request.correlation_data or b"")

    def reply(self, publication: Publication, timeout_s: float, expiry_s: int | None = None) -> Message:
        """Publish a request and return its reply, which is one message and has `timeout_s` to arrive.

        Raises:
            Refused: the broker does not let this account publish it.
            NotOnline: the responder is not there, or stops before it has replied.
            NoReply: no reply in time.
            BrokenReply: a part of the reply was lost, or a message does not follow the protocol.
            Unreachable: the connection was lost or the broker does not answer.
        """
        request = self.exchange.request(publication)
        until_s = self._clock() + timeout_s
        try:
            self.publish(request, expiry_s)
            while True:
                event = self._next(until_s, timeout_s)
                if isinstance(event, Final):
                    return event.message
        finally:
            self.exchange.forget(request.correlation_data or b"")

    def receive(self, timeout_s: float) -> Received | None:
        """Return the next message that is no reply, None if there is none in time. Replies that come too late are dropped.

        Raises:
            ConnectionLost: the connection was lost and no message is left.
        """
        while True:
            received = self._others.popleft() if self._others else self._bus.receive(timeout_s)
            if received is None or received.topic != self.exchange.response_topic:
                return received

    def waiting(self) -> list[Received]:
        """Return the messages that arrived while a reply was awaited."""
        found = list(self._others)
        self._others.clear()
        return found

    def _next(self, until_s: float, patience_s: float) -> Part | Final:
        while (left_s := until_s - self._clock()) > 0:
            received = self._bus.receive(left_s)
            if received is None:
                break
            if (event := self._responder.take(self.exchange, received)) is not None:
                return event
            if received.topic not in self.topics:
                self._others.append(received)
        raise self._responder.silent(patience_s)


def component_states(messages: Iterable[Message]) -> dict[str, ComponentState]:
    """Return the states of components by name, from messages on any topics; what is no state is left out."""
    states = {}
    for each in messages:
        if (levels := STATE.parse(each.topic)) is not None:
            with suppress(Rejected):
                states[levels["component"]] = decode(each.payload, ComponentState)
    return states


def _presence(message: Message) -> Presence | None:
    try:
        return decode(message.payload, ComponentState).state
    except Rejected:
        return None


def component_warnings(messages: Iterable[Message]) -> dict[str, str]:
    """Return the warnings of components by name, those of earlier starts left out, from messages on any topics."""
    known = list(messages)
    states = component_states(known)
    found = {}
    for each in known:
        if (levels := WARNING.parse(each.topic)) is not None:
            with suppress(Rejected):
                warning, state = decode(each.payload, ComponentWarning), states.get(levels["component"])
                if state is not None and (state.boot, state.state) == (warning.boot, Presence.ONLINE):
                    found[levels["component"]] = warning.text
    return found
