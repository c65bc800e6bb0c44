"""Requests over MQTT 5 for asyncio programs: a shell over `broker.exchange`."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from adapters.client.errors import BrokenReply, NoReply, Unreachable
from broker.errors import BrokerUnavailable
from broker.exchange import Exchange, Final, Part, ReplyError
from broker.message import Message, Publication
from broker.runtime.component import Bus

MAX_WAITING = 1_000


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply: its parts, in order, and its final message."""

    parts: list[Part]
    final: Final


@dataclass(frozen=True, slots=True)
class _Waiting:
    parts: list[Part] = field(default_factory=list)
    outcome: asyncio.Future[Final | ReplyError] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """An error is set as a result, since asyncio logs an exception that is never awaited, as after a failure of the broker."""


class AsyncExchange:
    """The requests of one component and their replies.

    The component subscribes to the response topic, and passes every message that arrives there to `take`.

    Args:
        response_topic: where replies go; a topic that belongs to this component.
        max_waiting: requests that may wait for their replies at the same time.
        cancel: returns what tells the responder that a request, by its correlation data, needs no reply any more.
    """

    def __init__(
        self,
        response_topic: str,
        max_waiting: int = MAX_WAITING,
        cancel: Callable[[bytes], Publication] | None = None,
    ) -> None:
        self._exchange = Exchange(response_topic, secrets.token_bytes(8))
        self._max_waiting, self._cancel = max_waiting, cancel
        self._waiting: dict[bytes, _Waiting] = {}

    async def request(self, bus: Bus, publication: Publication, timeout_s: float) -> Reply:
        """Publish a request at QoS 1 and return the reply.

        Args:
            bus: where to publish.
            publication: the request; response topic and correlation data are added.
            timeout_s: wall time within which the broker's acknowledgement and the whole reply must arrive.

        Raises:
            NoReply: the reply was not complete in time.
            BrokenReply: a part of the reply was lost, or a message of it does not follow the protocol.
            Unreachable: the broker is unreachable, or too many requests wait already.
        """
        if len(self._waiting) >= self._max_waiting:
            raise Unreachable(f"{self._max_waiting} requests wait for a reply already")
        request = self._exchange.request(publication)
        correlation_data = request.correlation_data or b""
        waiting = self._waiting[correlation_data] = _Waiting()
        try:
            async with asyncio.timeout(timeout_s):
                await bus.deliver(request, timeout_s)
                outcome = await asyncio.shield(waiting.outcome)  # shield: only a reply may set it
        except BrokerUnavailable as error:
            raise Unreachable(str(error)) from error
        except TimeoutError:
            raise NoReply(f"no whole reply to {publication.topic} within {timeout_s:g} s") from None
        finally:
            if self._cancel is not None and not waiting.outcome.done():
                bus.publish(self._cancel(correlation_data))
            self._exchange.forget(correlation_data)
            del self._waiting[correlation_data]
        if isinstance(outcome, ReplyError):
            raise BrokenReply(str(outcome)) from outcome
        return Reply(waiting.parts, outcome)

    def take(self, message: Message) -> None:
        """Take a message from the response topic; one that no request waits for is ignored."""
        try:
            taken = self._exchange.take(message)
        except ReplyError as error:
            self._waiting[error.correlation_data].outcome.set_result(error)
            return
        if isinstance(taken, Part):
            self._waiting[taken.correlation_data].parts.append(taken)
        elif taken is not None:
            self._waiting[taken.correlation_data].outcome.set_result(taken)
