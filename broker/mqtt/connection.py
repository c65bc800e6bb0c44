"""A client's MQTT 5 connection that stays up: connects, subscribes, receives, publishes, and reconnects when it is lost."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import replace

import gmqtt

from broker.errors import BrokerUnavailable, NotAllowed, TakenOver
from broker.log import Log
from broker.mqtt.network import FAILURE, NetworkConnection
from broker.mqtt.options import Address, Options, Subscription
from broker.mqtt.outbox import Outbox
from broker.mqtt.packets import Delivery, acknowledgement

log = Log(__name__)

ANSWER_TIMEOUT_S = 10
FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 30.0
STABLE_S = 5.0
"""After a connection that lasted at least this long, the pauses between attempts start from the shortest again."""
LARGEST_BACKLOG_BYTES = 128 * 1024 * 1024

_NOT_AUTHORIZED = 0x87


class ConnectionListener:
    """Callbacks of a connection. An exception in any of them ends `Connection.run`."""

    async def before_connect(self) -> None:
        """Prepare for a connect attempt; nothing is delivered before this returns."""

    async def on_session(self, present: bool) -> None:
        """The broker accepted the connection, nothing is subscribed yet; `present`: the broker still had the session."""

    def on_up(self) -> None:
        """All subscriptions are in place."""

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        """PUBLISH packets arrived. Must not block."""

    def on_down(self) -> None:
        """The connection was lost."""


class Connection:
    """A client's connection, with everything that has to survive its loss."""

    def __init__(self, address: Address, options: Options, listener: ConnectionListener) -> None:
        self._address, self._options, self._listener = address, options, listener
        self._outbox: Outbox[gmqtt.Message] = Outbox(options.max_queued, LARGEST_BACKLOG_BYTES, _size)
        self._dropping, self._dropped_reported = "", 0
        """Why publications are being dropped, empty while none are; and how many drops have been logged."""
        self._network: NetworkConnection | None = None
        self._drained = asyncio.Event()
        self._drained.set()
        self._leaving = False
        self._awaited: dict[int, tuple[gmqtt.Message, asyncio.Future[None]]] = {}
        """Publications whose acknowledgement is awaited, by the `id` of the object."""
        self._pings: list[asyncio.Future[None]] = []
        self._unanswered: list[Delivery] = []
        """Deliveries that are acknowledged once everything that was published before is sent."""
        self._changing = asyncio.Lock()
        self._dropped_filters: set[str] = set()
        """Filters that the broker's session may still have, although they are no longer wanted."""
        self.connected = False
        self.refused = 0
        """Publications that the broker refused, since the start."""
        self.dropped = 0
        """Publications that were dropped although the broker was connected, since the start."""

    def publish(self, message: gmqtt.Message, urgent: bool = False) -> None:
        """Send a message now, or as soon as there is a connection and room in the window; an urgent one before all others."""
        before = self._outbox.dropped
        self._outbox.put(message, urgent)
        self._drained.clear()
        if self._outbox.dropped > before:
            self.dropped += self._outbox.dropped - before if self.connected else 0
            why = "publications come faster than the broker takes them" if self.connected else "the broker is unreachable"
            if why != self._dropping:
                self._dropping = why
                log.error(
                    "publications-dropping",
                    "%(reason)s: dropping the oldest publications, %(queued)d are queued",
                    reason=why,
                    queued=self.unsent,
                )
        self._send()

    async def deliver(self, message: gmqtt.Message) -> None:
        """Send a message now and wait until the broker has acknowledged it; after an error it is not sent again.

        Raises:
            BrokerUnavailable: there is no connection, it was lost first, or the broker refused the message.
        """
        if not self.connected:
            raise BrokerUnavailable("there is no connection to the broker")
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited[id(message)] = message, acknowledged
        try:
            self.publish(message)
            await acknowledged
        finally:
            del self._awaited[id(message)]
            self._outbox.withdraw(message)

    async def ping(self) -> None:
        """Send PINGREQ and wait for the broker's answer: a frozen broker has an open connection, too.

        Raises:
            BrokerUnavailable: there is no connection, or it was lost first.
        """
        if not self.connected or self._network is None:
            raise BrokerUnavailable("there is no connection to the broker")
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pings.append(answered)
        self._network.ping()
        try:
            await answered
        finally:
            self._pings = [each for each in self._pings if each is not answered]

    @property
    def unsent(self) -> int:
        """Publications that the broker has not acknowledged yet."""
        return len(self._outbox)

    def acknowledge(self, deliveries: Iterable[Delivery]) -> int:
        """Acknowledge deliveries of the present connection, all in one write; return how many were acknowledged.

        With `acknowledge_in_order`, and while publications wait for room in the window, it is done when they are sent.
        """
        if self._options.acknowledge_in_order and self._outbox.waiting and self.connected:
            self._unanswered += deliveries
            return 0
        return self._acknowledge(deliveries)

    def _acknowledge(self, deliveries: Iterable[Delivery]) -> int:
        packets = [acknowledgement(each.qos, each.packet_id) for each in deliveries if each.qos]
        if not packets or self._network is None:
            return 0
        self._network.write(b"".join(packets))
        return len(packets)

    async def change_subscriptions(self, wanted: Iterable[Subscription], removed: Iterable[str] = ()) -> None:
        """Subscribe to further filters, or again with other options, and end the subscriptions to some, now and from now on.

        Without a connection, it happens with the next one.

        Raises:
            BrokerUnavailable: the broker refused a subscription, or the connection was lost; the next one has it.
        """
        new, gone = {each.filter: each for each in wanted}, set(removed)
        kept = [each for each in self._options.subscriptions if each.filter not in gone and each.filter not in new]
        self._options = replace(self._options, subscriptions=(*kept, *new.values()))
        self._dropped_filters = (self._dropped_filters | gone) - set(new)
        async with self._changing:
            if self.connected and self._network is not None:
                self._unsubscribe_dropped(self._network)
                if new:
                    await self._network.subscribe(tuple(new.values()))

    def _unsubscribe_dropped(self, network: NetworkConnection) -> None:
        if self._dropped_filters:
            network.unsubscribe(tuple(sorted(self._dropped_filters)))
            self._dropped_filters.clear()

    async def run(self) -> None:
        """Connect, and reconnect whenever the connection is lost, until cancelled.

        Raises:
            TakenOver: another client uses the same client id.
        """
        backoff_s, up_s = FIRST_BACKOFF_S, 0.0
        while True:
            try:
                network = await self._connect()
                up_s = time.monotonic()
                await network.until_lost()
            except BrokerUnavailable as error:
                if self.connected and time.monotonic() - up_s > STABLE_S:
                    backoff_s = FIRST_BACKOFF_S
                if self._leaving:
                    return
                log.warning("broker-unreachable", "%(error)s; trying again in %(pause_s).1f s", error=error, pause_s=backoff_s)
            except TakenOver:
                if self._network is not None:
                    self._network.send_disconnect()  # or else the will would overwrite the other client's retained state
                raise
            finally:
                self._disconnected()
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)

    async def flush(self, timeout_s: float) -> bool:
        """Wait until the broker has acknowledged everything; return whether it did in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._drained.wait()
        except TimeoutError:
            return False
        return True

    async def disconnect(self) -> None:
        """Send DISCONNECT, so that the broker does not publish the will; `run` returns."""
        self._leaving = True
        if self._network is not None and self.connected:
            await self._network.disconnect()

    async def _connect(self) -> NetworkConnection:
        await self._listener.before_connect()
        where = f"{self._address.host}:{self._address.port}"
        network = NetworkConnection(self._address, self._options, self._take, self._on_puback, self._on_pingresp)
        self._network = network
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await self._listener.on_session(await network.connect())
                self._unsubscribe_dropped(network)
                if self._options.subscriptions:
                    await network.subscribe(self._options.subscriptions)
        except TimeoutError as error:
            raise BrokerUnavailable(f"the broker at {where} does not answer") from error
        self.connected = True
        log.info("broker-connected", "connected to %(broker)s as %(client)s", broker=where, client=self._options.client_id)
        self._listener.on_up()
        self._send()
        return network

    def _take(self, deliveries: list[Delivery]) -> None:
        self._listener.on_deliveries(deliveries)
        if self._options.acknowledge:
            self.acknowledge(deliveries)

    def _on_puback(self, packet_id: int, reason: int) -> None:
        message = self._outbox.acknowledged(packet_id)
        if reason >= FAILURE and message is not None:
            self.refused += 1
            why = "the access rules do not allow it" if reason == _NOT_AUTHORIZED else f"reason code 0x{reason:02X}"
            log.error(
                "publication-refused",
                "the broker refused a publication to %(topic)s: %(reason)s",
                topic=message.topic.decode(),
                reason=why,
            )
            kind = NotAllowed if reason == _NOT_AUTHORIZED else BrokerUnavailable
            self._resolve(message, kind(f"the broker refused it: {why}"))
        elif message is not None:
            self._resolve(message)
        self._send()

    def _resolve(self, message: gmqtt.Message, error: BrokerUnavailable | None = None) -> None:
        """End the wait of `deliver` for this message, if there is one."""
        _, acknowledged = self._awaited.get(id(message), (message, None))
        if acknowledged is None or acknowledged.done():
            return
        if error is None:
            acknowledged.set_result(None)
        else:
            acknowledged.set_exception(error)

    def _on_pingresp(self, error: BrokerUnavailable | None = None) -> None:
        pings, self._pings = self._pings, []
        for answered in (each for each in pings if not each.done()):
            if error is None:
                answered.set_result(None)
            else:
                answered.set_exception(error)

    def _disconnected(self) -> None:
        was_connected, self.connected = self.connected, False
        self._unanswered.clear()
        self._outbox.connection_lost()
        if self._network is not None:
            self._network.abort()
            self._network = None
        lost = "the connection to the broker was lost"
        for message, _ in self._awaited.values():
            self._resolve(message, BrokerUnavailable(lost))
        self._on_pingresp(BrokerUnavailable(lost))
        if was_connected:
            self._listener.on_down()

    def _send(self) -> None:
        if not self.connected or self._network is None:
            return
        while (message := self._outbox.take(self._network.window)) is not None:
            packet_id = self._network.publish(message)
            if message.qos:
                self._outbox.sent(packet_id, message)
        if not self._outbox.waiting:
            self._report_dropped()
            if self._unanswered:
                unanswered, self._unanswered = self._unanswered, []
                self._acknowledge(unanswered)
        if not self._outbox:
            self._drained.set()

    def _report_dropped(self) -> None:
        """Log how many were dropped, once everything that was queued has been sent."""
        if self._dropping:
            log.error(
                "publications-dropped",
                "%(reason)s: %(count)d publications were dropped",
                reason=self._dropping,
                count=self._outbox.dropped - self._dropped_reported,
            )
            self._dropping, self._dropped_reported = "", self._outbox.dropped


def _size(message: gmqtt.Message) -> int:
    """Return about how many bytes a message takes: the payload, and the rest at its usual size."""
    return int(message.payload_size) + 1_000
