"""A connection that takes every message from the broker while pages are open, so that without pages it costs nothing.

It subscribes at QoS 0: a page shows what is new, the recording has everything. Answers to other clients are not shown.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from adapters.client.errors import ClientError
from adapters.web.live import LiveTopics, Topic
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

Recall = Callable[[], Awaitable[list[tuple[Message, float]]]]
Listener = Callable[[Topic], None]


class Tap(ConnectionListener):
    """The latest message of every topic, while there is a listener or was one a minute ago.

    Attributes:
        topics: what has arrived since the connection was made.
        recall: returns earlier messages and when they arrived: of topics that have had none since the connection was made.
        up: whether it is connected.
        down_s: since when it is not, on the loop's clock.
    """

    def __init__(self, address: Address, name: str, recall: Recall | None = None) -> None:
        self._address, self._name = address, name
        self.recall = recall
        self._listeners: set[Listener] = set()
        self._task: asyncio.Task[None] | None = None
        self._recalling: asyncio.Task[None] | None = None
        self._ending: asyncio.TimerHandle | None = None
        self._hidden = tuple(each.removesuffix("#") for each in answer_filters())
        self.topics = LiveTopics()
        self.up, self.down_s = False, 0.0

    def add(self, listener: Listener) -> None:
        """Call `listener` with the topic of each message from now on."""
        self._listeners.add(listener)
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
        if self._task is None:
            self.topics, self.down_s = LiveTopics(), asyncio.get_running_loop().time()
            self._task = asyncio.create_task(self._connection().run(), name="tap")
            self._recalling = asyncio.create_task(self._recall(self.topics), name="recall")

    def remove(self, listener: Listener) -> None:
        """Stop calling `listener`."""
        self._listeners.discard(listener)
        if not self._listeners and self._task is not None and self._ending is None:
            self._ending = asyncio.get_running_loop().call_later(LINGER_S, self.stop)

    async def _recall(self, topics: LiveTopics) -> None:
        try:
            earlier = await self.recall() if self.recall is not None else []
        except ClientError as error:
            log.info(
                "recall-failed", "earlier topics are not shown, since the recorder does not answer: %(error)s", error=error
            )
            return
        for message, at_s in earlier:
            if topics.get(message.topic) is None and not message.topic.startswith(self._hidden):
                topics.take(message, at_s)

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

    def on_up(self) -> None:
        """Note the connection."""
        self.up = True

    def on_down(self) -> None:
        """Note its loss."""
        self.up, self.down_s = False, asyncio.get_running_loop().time()

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        """Keep the latest messages."""
        now_s = time.time()
        for delivery in deliveries:
            if delivery.topic.startswith(self._hidden):
                continue
            try:
                topic = self.topics.take(read_message(delivery), now_s)
            except Rejected as error:
                log.debug(
                    "message-not-shown", "a message on %(topic)s cannot be shown: %(error)s", topic=delivery.topic, error=error
                )
                continue
            if topic is not None:
                for listener in self._listeners:
                    listener(topic)

    def _connection(self) -> Connection:
        everything = Subscription(filter="#", qos=0, retain_as_published=True)
        options = Options(client_id=self._name, secret=random_secret(), subscriptions=(everything,))
        return Connection(self._address, options, self)
