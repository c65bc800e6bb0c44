"""One MQTT 5 connection that stays up: connects, subscribes, receives, publishes, and starts again when it is lost.

It stands on gmqtt for the socket, CONNECT, SUBSCRIBE, keep-alive and packet encoding. Three packets are taken over here, since
gmqtt acknowledges before a message is handled and does not report why a publication was refused: PUBLISH and PUBREL in,
PUBACK in. `broker.mqtt.reader` cuts the packets out of the stream. `tests/broker/mqtt/test_connection.py` fails if a release of
gmqtt moves the places where that is done.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import gmqtt
from gmqtt.mqtt.constants import MQTTCommands
from gmqtt.mqtt.handler import MQTTConnectError

from broker.errors import BrokerUnavailable, TakenOver
from broker.mqtt.options import Address, Options, Subscription
from broker.mqtt.outbox import Outbox
from broker.mqtt.packets import Delivery, acknowledgement, parse_publish, parse_publishes, parse_reason, publish_complete
from broker.mqtt.reader import install

log = logging.getLogger(__name__)

T = TypeVar("T")

KEEP_ALIVE_S = 10
ANSWER_TIMEOUT_S = 10
FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 30.0
STABLE_S = 5.0
"""A connection that has held so long was a good one: after it, the pauses between attempts are short again."""
LARGEST_BACKLOG_BYTES = 128 * 1024 * 1024
LARGEST_WINDOW = 1_000
"""Publications in flight at most, if the broker's receive maximum does not ask for fewer."""

_FAILURE = 0x80
"""Reason codes from here on say that something was refused or failed (section 2.4)."""
_TAKEN_OVER = 0x8E
_NOT_AUTHORIZED = 0x87
_NEVER_RECONNECT = -2
"""gmqtt reconnects by itself when this is 0 or more, and for ever when it is -1."""

install()

_gmqtt_log = logging.getLogger("gmqtt")
_gmqtt_log.setLevel(logging.CRITICAL)


class ConnectionListener:
    """Whom a connection belongs to: what it is told. An exception in any of these ends `Connection.run`."""

    async def before_connect(self) -> None:
        """Prepare for a connect attempt; nothing is delivered before this returns."""

    async def on_session(self, present: bool) -> None:
        """The broker accepted the connection; `present` tells whether it still had the session. Nothing is subscribed yet."""

    def on_up(self) -> None:
        """All subscriptions are in place."""

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        """PUBLISH packets arrived. Must not block."""

    def on_down(self) -> None:
        """The connection was lost."""


class Connection:
    """A connection with everything that has to survive its loss."""

    def __init__(self, address: Address, options: Options, owner: ConnectionListener) -> None:
        self._address, self._options, self._owner = address, options, owner
        self._outbox: Outbox[gmqtt.Message] = Outbox(options.max_queued, LARGEST_BACKLOG_BYTES, _size)
        self._dropping, self._dropped_told = False, 0
        self._client: gmqtt.Client | None = None
        self._drained = asyncio.Event()
        self._drained.set()
        self._window = LARGEST_WINDOW
        self._lost: asyncio.Future[None] | None = None
        self._leaving = False
        self._topics: dict[bytes, str] = {}
        self._awaited: dict[int, tuple[gmqtt.Message, asyncio.Future[None]]] = {}
        """Publications that somebody waits for, by their `id`."""
        self._pinged: list[asyncio.Future[None]] = []
        self.connected = False
        self.refused = 0
        """Publications that the broker refused, since the start."""

    def publish(self, message: gmqtt.Message, urgent: bool = False) -> None:
        """Send a message now, or as soon as there is a connection and room in the window; an urgent one before all others."""
        self._outbox.put(message, urgent)
        self._drained.clear()
        if self._outbox.dropped > self._dropped_told and not self._dropping:
            self._dropping = True
            log.error("the broker is away for long: publications are dropped, oldest first, %d kept", self.unsent)
        self._send()

    async def deliver(self, message: gmqtt.Message) -> None:
        """Send a message now and wait until the broker has acknowledged it; given up, it is not sent again.

        Raises:
            BrokerUnavailable: there is no connection, it was lost first, or the broker refused the message.
        """
        if not self.connected:
            raise BrokerUnavailable("there is no connection to the broker")
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited[id(message)] = message, answer
        try:
            self.publish(message)
            await answer
        finally:
            del self._awaited[id(message)]
            self._outbox.withdraw(message)

    async def ping(self) -> None:
        """Send PINGREQ and wait for the broker's answer: a frozen one has an open connection, too.

        Raises:
            BrokerUnavailable: there is no connection, or it was lost first.
        """
        if not self.connected or self._client is None:
            raise BrokerUnavailable("there is no connection to the broker")
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pinged.append(answer)
        self._client._connection._send_ping_request()
        try:
            await answer
        finally:
            self._pinged = [each for each in self._pinged if each is not answer]

    @property
    def unsent(self) -> int:
        """Publications that the broker has not acknowledged yet."""
        return len(self._outbox)

    def acknowledge(self, deliveries: Iterable[Delivery]) -> int:
        """Acknowledge deliveries of the present connection, all in one write; return how many were."""
        packets = [acknowledgement(each.qos, each.packet_id) for each in deliveries if each.qos]
        if not packets or self._client is None:
            return 0
        self._client._connection._protocol.write_data(b"".join(packets))
        return len(packets)

    async def run(self) -> None:
        """Connect, and connect again when the connection is lost, until cancelled.

        Raises:
            TakenOver: another client uses the same client id.
        """
        backoff_s, up_s = FIRST_BACKOFF_S, 0.0
        while True:
            try:
                await self._connect()
                up_s = time.monotonic()
                await self._stay_connected()
            except BrokerUnavailable as error:
                if self.connected and time.monotonic() - up_s > STABLE_S:
                    backoff_s = FIRST_BACKOFF_S
                if self._leaving:
                    return
                log.warning("%s; trying again in %.1f s", error, backoff_s)
            except TakenOver:
                self._leave_quietly()
                raise
            finally:
                self._disconnected()
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)

    async def flush(self, timeout_s: float) -> bool:
        """Wait until the broker has acknowledged everything; tell whether it did in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._drained.wait()
        except TimeoutError:
            return False
        return True

    async def disconnect(self) -> None:
        """Send DISCONNECT, so that the broker does not publish the will; `run` returns."""
        self._leaving = True
        if self._client is not None and self.connected:
            await asyncio.wait({asyncio.ensure_future(self._client.disconnect())}, timeout=1)

    async def _connect(self) -> None:
        await self._owner.before_connect()
        where = f"{self._address.host}:{self._address.port}"
        loop = asyncio.get_running_loop()
        self._lost = loop.create_future()
        session: asyncio.Future[bool] = loop.create_future()
        granted: asyncio.Future[tuple[int, ...]] = loop.create_future()
        client = self._new_client(session, granted)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                tls, address = _tls(self._address.ca), self._address
                await self._or_lost(client.connect(address.host, address.port, ssl=tls, keepalive=KEEP_ALIVE_S))
                await self._owner.on_session(await self._or_lost(session))
                if self._options.subscriptions:
                    client.subscribe([_gmqtt_subscription(each) for each in self._options.subscriptions])
                    self._check(await self._or_lost(granted))
        except MQTTConnectError as error:
            raise BrokerUnavailable(f"the broker at {where} refused {self._options.client_id}: {error}") from error
        except TimeoutError as error:
            raise BrokerUnavailable(f"the broker at {where} does not answer") from error
        except OSError as error:
            raise BrokerUnavailable(f"no broker at {where}: {error.strerror or error}") from error
        self.connected = True
        log.info("connected to %s as %s", where, self._options.client_id)
        self._owner.on_up()
        self._send()

    async def _or_lost(self, answer: Awaitable[T]) -> T:
        """Wait for an answer of the broker, or for the end of the connection.

        Raises:
            BrokerUnavailable: the connection ended first.
        """
        assert self._lost is not None
        waiting = asyncio.ensure_future(answer)
        try:
            await asyncio.wait([waiting, self._lost], return_when=asyncio.FIRST_COMPLETED)  # type: ignore[type-var]
            if not waiting.done():
                self._lost.result()
            return await waiting
        finally:
            waiting.cancel()

    def _check(self, granted: tuple[int, ...]) -> None:
        for subscription, code in zip(self._options.subscriptions, granted, strict=False):
            if code >= _FAILURE:
                raise BrokerUnavailable(f"the broker refused the subscription to {subscription.filter} (0x{code:02X})")

    def _new_client(self, session: "asyncio.Future[bool]", granted: "asyncio.Future[tuple[int, ...]]") -> gmqtt.Client:
        options = self._options
        properties: dict[str, Any] = {"receive_maximum": options.receive_maximum}
        if options.session_expiry_s:
            properties["session_expiry_interval"] = options.session_expiry_s
        client = gmqtt.Client(
            options.client_id,
            clean_session=options.session_expiry_s == 0,
            will_message=options.will,
            logger=_gmqtt_log,
            **properties,
        )
        if self._address.username:
            client.set_auth_credentials(self._address.username, self._address.password)
        client.set_config({"reconnect_retries": _NEVER_RECONNECT})

        def on_connect(_client: gmqtt.Client, session_present: int, *_: Any) -> None:
            session.set_result(bool(session_present))
            broker_window = client._package_handler._connack_properties.get("receive_maximum", [LARGEST_WINDOW])[0]
            self._window = min(LARGEST_WINDOW, broker_window - 1)

        client.on_connect = on_connect
        client.on_subscribe = lambda _client, _mid, codes, *_: None if granted.done() else granted.set_result(codes)
        client.on_disconnect = lambda _client, packet, *_: self._on_disconnect(packet)
        handlers = client._package_handler._handler_cache
        client._package_handler.take_publishes = self._take_publishes
        handlers[MQTTCommands.PUBLISH] = self._guarded(self._on_publish)
        handlers[MQTTCommands.PUBREL] = self._guarded(self._on_pubrel)
        handlers[MQTTCommands.PUBACK] = self._guarded(self._on_puback)
        handlers[MQTTCommands.PINGRESP] = self._guarded(self._on_pingresp)
        self._client = client
        return client

    def _guarded(self, handler: Callable[[int, bytes], None]) -> Callable[[int, bytes], None]:
        """gmqtt logs an exception of a handler and goes on; here it ends `run`."""

        def guarded(command: int, body: bytes) -> None:
            if self._lost is None or self._lost.done():
                return
            try:
                handler(command, body)
            except Exception as error:
                self._lost.set_exception(error)

        return guarded

    def _take_publishes(self, data: bytes, position: int) -> int:
        """Take what packets of the usual form there are; any other one goes through gmqtt to `_on_publish`."""
        if self._lost is None or self._lost.done():
            return position
        deliveries, position = parse_publishes(data, position, self._topics)
        try:
            if deliveries:
                self._take(deliveries)
        except Exception as error:
            self._lost.set_exception(error)
        return position

    def _on_publish(self, command: int, body: bytes) -> None:
        self._take([parse_publish(command, body)])

    def _take(self, deliveries: list[Delivery]) -> None:
        self._owner.on_deliveries(deliveries)
        if self._options.acknowledge:
            self.acknowledge(deliveries)

    def _on_pubrel(self, _command: int, body: bytes) -> None:
        packet_id, _reason = parse_reason(body)
        if self._client is not None:
            self._client._connection._protocol.write_data(publish_complete(packet_id))

    def _on_puback(self, command: int, body: bytes) -> None:
        assert self._client is not None
        self._client._package_handler._handle_puback_packet(command, body)
        packet_id, reason = parse_reason(body)
        message = self._outbox.acknowledged(packet_id)
        if reason >= _FAILURE and message is not None:
            self.refused += 1
            why = "the access rules do not allow it" if reason == _NOT_AUTHORIZED else f"reason code 0x{reason:02X}"
            log.error("the broker refused a publication to %s: %s", message.topic.decode(), why)
            self._answer(message, BrokerUnavailable(f"the broker refused it: {why}"))
        elif message is not None:
            self._answer(message)
        self._send()

    def _answer(self, message: gmqtt.Message, error: BrokerUnavailable | None = None) -> None:
        """Tell who waits for a publication what became of it."""
        _, answer = self._awaited.get(id(message), (message, None))
        if answer is None or answer.done():
            return
        if error is None:
            answer.set_result(None)
        else:
            answer.set_exception(error)

    def _on_pingresp(self, _command: int, _body: bytes) -> None:
        pinged, self._pinged = self._pinged, []
        for answer in pinged:
            if not answer.done():
                answer.set_result(None)

    def _on_disconnect(self, packet: Any) -> None:
        if self._lost is None or self._lost.done():
            return
        reason = packet[0] if isinstance(packet, bytes) and packet else 0
        if reason == _TAKEN_OVER:
            who = self._options.client_id
            self._lost.set_exception(TakenOver(f"another client took the place of {who}: is it running twice?"))
        else:
            self._lost.set_exception(
                BrokerUnavailable("the connection to the broker was lost" + (f" (0x{reason:02X})" if reason else ""))
            )

    async def _stay_connected(self) -> None:
        assert self._lost is not None
        assert self._client is not None
        while not self._lost.done():
            await asyncio.wait({self._lost}, timeout=KEEP_ALIVE_S / 4)
            silent_s = time.monotonic() - self._client._connection._last_data_in
            if silent_s > 2 * KEEP_ALIVE_S:
                raise BrokerUnavailable(f"the broker has been silent for {silent_s:.0f} s")
        self._lost.result()

    def _leave_quietly(self) -> None:
        """Send DISCONNECT, so that the will does not speak for the client that took this one's place."""
        if self._client is not None and self._client._connection is not None:
            self._client._connection.send_disconnect()

    def _disconnected(self) -> None:
        was_connected, self.connected = self.connected, False
        self._outbox.connection_lost()
        if self._lost is not None and not self._lost.cancel() and not self._lost.cancelled():
            self._lost.exception()  # it was raised where somebody waited; asyncio wants it to be looked at
        if self._client is not None and self._client._connection is not None:
            self._client._connection._transport.abort()
        self._client = None
        for message, _ in self._awaited.values():
            self._answer(message, BrokerUnavailable("the connection to the broker was lost"))
        pinged, self._pinged = self._pinged, []
        for answer in pinged:
            if not answer.done():
                answer.set_exception(BrokerUnavailable("the connection to the broker was lost"))
        if was_connected:
            self._owner.on_down()

    def _send(self) -> None:
        if not self.connected or self._client is None:
            return
        while (message := self._outbox.take(self._window)) is not None:
            packet_id, _packet = self._client._connection.publish(message)
            if message.qos:
                self._outbox.sent(packet_id, message)
        if not self._outbox.waiting:
            self._tell_dropped()
        if not self._outbox:
            self._drained.set()

    def _tell_dropped(self) -> None:
        """Say how many are lost, once all that was kept has been sent."""
        if self._dropping:
            log.error("%d publications were dropped while the broker was away", self._outbox.dropped - self._dropped_told)
            self._dropping, self._dropped_told = False, self._outbox.dropped


def _size(message: gmqtt.Message) -> int:
    """Return about how many bytes a message takes: the payload, and the rest at its usual size."""
    return int(message.payload_size) + 1_000


def _gmqtt_subscription(subscription: Subscription) -> gmqtt.Subscription:
    return gmqtt.Subscription(
        subscription.filter,
        qos=subscription.qos,
        no_local=subscription.no_local,
        retain_as_published=subscription.retain_as_published,
        retain_handling_options=subscription.retain_handling,
    )


def _tls(ca: str | None) -> ssl.SSLContext | bool:
    return ssl.create_default_context(cafile=ca) if ca else False
