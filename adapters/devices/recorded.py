"""Asking the recorder what it has, on a connection of its own: the component's own session may be full of waiting messages."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.client.aio import AsyncExchange
from adapters.client.aio_recorder import RecorderClient, Rows
from adapters.client.errors import Failed
from adapters.devices.declaration import ANSWER_TOPIC, NAME, RECORDER_TOPIC
from broker.contract.components.topics import STATE, Presence
from broker.contract.storage.topics import JSON, REQUEST, QueryRequest, RequestEnd, StorageRequest
from broker.errors import BrokerUnavailable
from broker.message import Publication, decode, encode, read_message
from broker.mqtt.connection import Connection, ConnectionListener
from broker.mqtt.options import Address, Options, Subscription
from broker.mqtt.packets import Delivery
from broker.runtime.client_id import random_secret
from broker.runtime.clock import PlantClock
from broker.runtime.publisher import Publisher


class Asking(ConnectionListener):
    """A visit to the recorder. Use `asking`."""

    def __init__(self, address: Address, clock: PlantClock) -> None:
        self._publisher, self._clock = Publisher(NAME, clock), clock
        self._recorder, self._requests = RecorderClient(NAME), AsyncExchange(ANSWER_TOPIC)
        self._changed = asyncio.Event()
        self.recorder: Presence | None = None
        """Whether the recorder is online, None where there has never been one."""
        subscriptions = (Subscription(filter=ANSWER_TOPIC), Subscription(filter=RECORDER_TOPIC))
        options = Options(client_id=f"{NAME}-asks", secret=random_secret(), subscriptions=subscriptions)
        self.connection = Connection(address, options, self)

    def on_up(self) -> None:
        """Note that queries can be sent: the recorder's presence may come earlier."""
        self._changed.set()

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        """Take messages of an answer, and the recorder's presence."""
        for each in map(read_message, deliveries):
            if each.topic == RECORDER_TOPIC:
                self.recorder = STATE.decode(each).state if each.payload else None
                self._changed.set()
            else:
                self._recorder.take(each)
                self._requests.take(each)

    async def until_online(self, timeout_s: float) -> bool:
        """Wait until the recorder is online; return whether it is in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.recorder is not Presence.ONLINE or not self.connection.connected:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def query(self, request: QueryRequest, timeout_s: float) -> Rows:
        """Return the rows of a query.

        Raises:
            ClientError: the recorder has not answered in time, or reports an error.
        """
        return await self._recorder.query(self, request, timeout_s)

    async def carry_out(self, request: StorageRequest, timeout_s: float) -> None:
        """Let the recorder do something.

        Raises:
            ClientError: it has not answered in time, or refuses.
        """
        publication = Publication(topic=REQUEST.template.topic(), payload=encode(request), content_type=JSON)
        reply = await self._requests.request(self, publication, timeout_s)
        error = decode(reply.final.message.payload, RequestEnd).error
        if error is not None:
            raise Failed(error.message)

    def publish(self, publication: Publication) -> None:
        """Queue a publication."""
        self._publisher.publish(publication, self.connection)

    async def deliver(self, publication: Publication, timeout_s: float) -> None:
        """Publish, and wait until the broker has acknowledged it.

        Raises:
            BrokerUnavailable: the broker cannot be reached, or has not acknowledged it in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self.connection.deliver(self._publisher.stamped(publication))
        except TimeoutError:
            raise BrokerUnavailable(f"the broker has not answered within {timeout_s:g} s") from None

    async def ping(self, timeout_s: float) -> None:
        """Check that the broker answers."""
        async with asyncio.timeout(timeout_s):
            await self.connection.ping()

    def now_s(self) -> float:
        """Return plant time in seconds."""
        return self._clock.now_s()


@asynccontextmanager
async def asking(address: Address, clock: PlantClock) -> AsyncIterator[Asking]:
    """Connect for as long as the block lasts."""
    visit = Asking(address, clock)
    running = asyncio.create_task(visit.connection.run(), name="asking the recorder")
    try:
        yield visit
    finally:
        await visit.connection.disconnect()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
