"""A connection that takes every message from the broker while pages are open, so that without pages it costs nothing.

It subscribes at QoS 0: a page shows what is new, the recording has everything. Answers to other clients are not shown.
"""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

from adapters.client.errors import ClientError
from adapters.web.live import LiveTopics
from broker.contract.roles import answer_filters
from broker.errors import Rejected
from broker.log import Log
from broker.message import Message, read_message
from broker.mqtt.connection import Connection, ConnectionListener
from broker.mqtt.options import Address, Options, Subscription
from broker.mqtt.packets import Delivery
from broker.runtime.client_id import random_secret

log = Log(__name__)

LINGER_S = 60.0
"""The connection stays this long after the last page, since many pages are closed to be reloaded."""

CONNECTING_S = 1.0

FREEZE_FROM, FREEZE_GROWTH = 5_000, 1.25
"""Topics from which the garbage collector no longer visits what is kept, and the growth after which it skips the rest too.
Visiting 100,000 topics stops everything for a tenth of a second."""

Recall = Callable[[], Awaitable[Iterable[tuple[Message, float]]]]
Wake = Callable[[], None]
LARGEST_PROPERTIES = 16 * 1024
"""Bytes of a message's properties; those of one with more are not kept."""


TURN = 500
T = TypeVar("T")


async def in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """Iterate over many items, and let others work in between: all at once, 100,000 messages take a second."""
    for number, each in enumerate(items, 1):
        yield each
        if number % TURN == 0:
            await asyncio.sleep(0)


class Tap(ConnectionListener):
    """The latest message of every topic, while a page is open or was a minute ago.

    Attributes:
        topics: what has arrived since the connection was made.
        recall: returns earlier messages and when they arrived: of topics that have had none since the connection was made.
        up: whether it is connected.
        down_s: since when it is not, on the loop's clock.
    """

    def __init__(self, address: Address, name: str, recall: Recall | None = None) -> None:
        self._address, self._name = address, name
        self.recall = recall
        self._pages: set[Wake] = set()
        self._task: asyncio.Task[None] | None = None
        self._recalling: asyncio.Task[None] | None = None
        self._ending: asyncio.TimerHandle | None = None
        self._hidden = tuple(each.removesuffix("#") for each in answer_filters())
        self.topics = LiveTopics()
        self._freeze_at = FREEZE_FROM
        self.up, self.down_s = False, 0.0

    def add(self, page: Wake) -> None:
        """Stay connected for a page, and call it whenever the connection is lost or back."""
        self._pages.add(page)
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
        if self._task is None:
            self.topics, self.down_s = LiveTopics(), asyncio.get_running_loop().time()
            self._task = asyncio.create_task(self._connection().run(), name="tap")
            self._recalling = asyncio.create_task(self._recall(self.topics), name="recall")

    def wake(self) -> None:
        """Call all pages: something is lost or back."""
        for each in self._pages:
            each()

    def remove(self, page: Wake) -> None:
        """Forget a page."""
        self._pages.discard(page)
        if not self._pages and self._task is not None and self._ending is None:
            self._ending = asyncio.get_running_loop().call_later(LINGER_S, self.stop)

    async def _recall(self, topics: LiveTopics) -> None:
        try:
            earlier = await self.recall() if self.recall is not None else []
        except ClientError as error:
            log.info(
                "recall-failed", "earlier topics are not shown, since the recorder does not answer: %(error)s", error=error
            )
            return
        async for message, at_s in in_turns(earlier):
            if topics.get(message.topic) is None and not message.topic.startswith(self._hidden):
                topics.take(message, at_s)
        self._spare_collector()

    def is_lost(self) -> bool:
        """Return whether the broker has been unreachable for a moment: not while the first connection is being made."""
        return not self.up and asyncio.get_running_loop().time() - self.down_s > CONNECTING_S

    def stop(self) -> None:
        """Disconnect and drop what is known."""
        self._ending = None
        if self._task is not None and self._recalling is not None:
            self._task.cancel()
            self._recalling.cancel()
        self._task, self.up = None, False
        self.topics, self._freeze_at = LiveTopics(), FREEZE_FROM
        gc.unfreeze()

    def on_up(self) -> None:
        """Note the connection."""
        self.up = True
        self.wake()

    def on_down(self) -> None:
        """Note its loss."""
        loop = asyncio.get_running_loop()
        self.up, self.down_s = False, loop.time()
        loop.call_later(CONNECTING_S + 0.01, self.wake)

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        """Keep the latest messages."""
        now_s = time.time()
        for delivery in deliveries:
            if delivery.topic.startswith(self._hidden):
                continue
            try:
                message = read_message(delivery)
            except Rejected as error:
                log.debug(
                    "message-not-shown", "a message on %(topic)s cannot be shown: %(error)s", topic=delivery.topic, error=error
                )
                continue
            if len(delivery.properties) > LARGEST_PROPERTIES:
                message = Message(topic=message.topic, payload=message.payload, qos=message.qos, retain=message.retain)
            self.topics.take(message, now_s)
        self._spare_collector()

    def _spare_collector(self) -> None:
        if len(self.topics) >= self._freeze_at:
            self._freeze_at = int(FREEZE_GROWTH * len(self.topics))
            gc.freeze()

    def _connection(self) -> Connection:
        everything = Subscription(filter="#", qos=0, retain_as_published=True)
        options = Options(client_id=self._name, secret=random_secret(), subscriptions=(everything,))
        return Connection(self._address, options, self)
