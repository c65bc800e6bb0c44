"""A visit to a session at the broker: connect once, without a new subscription, read what it holds, keep it or end it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import TracebackType
from typing import Self, TypeVar

from broker.errors import BrokerUnavailable, TakenOver
from broker.mqtt.network import NetworkConnection
from broker.mqtt.options import Address, Options
from broker.mqtt.packets import Delivery, acknowledgement

T = TypeVar("T")

ANSWER_TIMEOUT_S = 10


class Visit:
    """A connection to the session of `options`, whose expiry must be above 0. Leaving it keeps the session.

    Use as `async with`. Nothing is acknowledged but by `acknowledge`: what else is delivered stays in the session. Every call
    raises `BrokerUnavailable` once the connection is lost; there is no other attempt.

    Args:
        address: the broker's address and the login.
        options: the session.
        on_deliveries: takes PUBLISH packets, in their order, from the moment of the connection on.
    """

    def __init__(
        self, address: Address, options: Options, on_deliveries: Callable[[list[Delivery]], None] = lambda _: None
    ) -> None:
        self._options = options
        self._network = NetworkConnection(address, options, on_deliveries, lambda *_: None, self._on_pingresp)
        self._answered = asyncio.Event()
        self._lost: asyncio.Future[None]
        self.present = False
        """Whether the broker had the session before this visit."""

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            BrokerUnavailable: the broker cannot be reached, does not answer, or refused the client.
        """
        try:
            self.present = await _answer(self._network.connect())
        except BaseException:
            self._network.abort()
            raise
        self._lost = asyncio.ensure_future(self._until_lost())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect, if that has not happened yet."""
        self._lost.cancel()
        await asyncio.gather(self._lost, return_exceptions=True)
        await self._network.disconnect()
        self._network.abort()

    async def subscribe(self) -> None:
        """Subscribe to what the options name, and wait until the broker has granted it."""
        await self.wait(_answer(self._network.subscribe(self._options.subscriptions)))

    async def ping(self) -> None:
        """Wait until the broker has handled everything before this call, and what it sends without acknowledgements is here."""
        self._answered.clear()
        self._network.ping()
        await self.wait(_answer(self._answered.wait()))

    async def wait(self, awaited: Awaitable[T]) -> T:
        """Wait for something, but no longer than the connection lasts."""
        waiting = asyncio.ensure_future(awaited)
        try:
            await asyncio.wait({waiting, self._lost}, return_when=asyncio.FIRST_COMPLETED)  # type: ignore[type-var]
            if not waiting.done():
                self._lost.result()
            return await waiting
        finally:
            waiting.cancel()

    def acknowledge(self, deliveries: list[Delivery]) -> int:
        """Acknowledge deliveries, all in one write; return how many were acknowledged."""
        packets = [acknowledgement(each.qos, each.packet_id) for each in deliveries if each.qos]
        if packets:
            self._network.write(b"".join(packets))
        return len(packets)

    async def _until_lost(self) -> None:
        """Wait until the connection is lost.

        Raises:
            BrokerUnavailable: always, also where an earlier release that still runs took the session: the caller tries again.
        """
        try:
            await self._network.until_lost()
        except TakenOver as error:
            raise BrokerUnavailable(str(error)) from error

    def _on_pingresp(self) -> None:
        self._answered.set()


async def end_session(address: Address, options: Options) -> None:
    """Let the broker delete a session with everything in it: it has done so when it accepts a clean start.

    A DISCONNECT that ends the session could get lost, where the connection is closed while deliveries are on their way.

    Raises:
        BrokerUnavailable: the broker cannot be reached, does not answer, or refused the client.
    """
    async with Visit(address, replace(options, session_expiry_s=0)):
        pass


async def _answer(answer: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            return await answer
    except TimeoutError as error:
        raise BrokerUnavailable(f"the broker has not answered within {ANSWER_TIMEOUT_S} s") from error
