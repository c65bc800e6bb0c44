"""One network connection to the broker, from CONNECT until it is lost.

gmqtt provides the socket, CONNECT, SUBSCRIBE, keep-alive and packet encoding. It acknowledges a message before it is handled,
and does not report why a publication was refused. So four packets are handled here instead: PUBLISH, PUBREL, PUBACK and
PINGRESP. `broker.mqtt.reader` cuts the packets out of the byte stream. Only these two modules use gmqtt's private attributes;
`tests/broker/mqtt/test_network.py` fails if a release of gmqtt moves them.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import gmqtt
from gmqtt.mqtt.constants import MQTTCommands
from gmqtt.mqtt.handler import MQTTConnectError

from broker.errors import BrokerUnavailable, InvalidSetting, LoginRefused, TakenOver
from broker.mqtt.options import Address, Options, Subscription
from broker.mqtt.packets import Delivery, parse_publish, parse_publishes, parse_reason, publish_complete
from broker.mqtt.reader import install
from broker.mqtt.tls import client_context, why_not_trusted, why_silent

T = TypeVar("T")

KEEP_ALIVE_S = 10
LARGEST_WINDOW = 1_000
"""Most publications in flight, where the broker's receive maximum does not ask for fewer."""
FAILURE = 0x80
"""Reason codes from here on report that something was refused or failed (section 2.4)."""

_TAKEN_OVER = 0x8E
_NO_LOGIN = (0x86, 0x87)
"""Reason codes of CONNACK: bad user name or password, not authorized."""
_NEVER_RECONNECT = -2
"""gmqtt reconnects by itself when this is 0 or more, and without end when it is -1."""

install()

_gmqtt_log = logging.getLogger("gmqtt")
_gmqtt_log.setLevel(logging.CRITICAL)


class _Closed(BrokerUnavailable):
    """The connection was closed without a reason."""


class NetworkConnection:
    """A connection of one client, used once. Make a new one to connect again.

    Args:
        address: the broker's address and the login.
        options: the client's session.
        on_deliveries: takes PUBLISH packets, in their order. An exception in any of these three ends the connection, and
            `until_lost` raises it.
        on_puback: takes packet identifier and reason code of an acknowledged publication.
        on_pingresp: called when the broker has answered a ping.
    """

    def __init__(
        self,
        address: Address,
        options: Options,
        on_deliveries: Callable[[list[Delivery]], None],
        on_puback: Callable[[int, int], None],
        on_pingresp: Callable[[], None],
    ) -> None:
        self._address, self._options = address, options
        self._on_deliveries, self._on_acknowledged, self._on_pong = on_deliveries, on_puback, on_pingresp
        loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[None] = loop.create_future()
        self._session: asyncio.Future[bool] = loop.create_future()
        self._granted: asyncio.Future[tuple[int, ...]] = loop.create_future()
        self._topics: dict[bytes, str] = {}
        self._client = self._new_client()
        self.window = LARGEST_WINDOW
        """Most publications in flight."""

    async def connect(self) -> bool:
        """Connect and log in; return whether the broker still had the session.

        Raises:
            LoginRefused: the broker does not accept the login.
            BrokerUnavailable: the broker cannot be reached, or refused the client.
            TimeoutError: the operating system gave up.
        """
        address, where = self._address, f"{self._address.host}:{self._address.port}"
        try:
            tls = client_context(address.ca) if address.ca else False
            await self._or_lost(self._client.connect(address.host, address.port, ssl=tls, keepalive=KEEP_ALIVE_S))
            return await self._or_lost(self._session)
        except InvalidSetting as error:
            raise BrokerUnavailable(str(error)) from error
        except _Closed as error:
            raise BrokerUnavailable(f"no answer from the broker at {where}: {why_silent(address)}") from error
        except MQTTConnectError as error:
            kind = LoginRefused if error._code in _NO_LOGIN else BrokerUnavailable
            raise kind(f"the broker at {where} refused {self._options.client_id}: {error}") from error
        except TimeoutError:
            raise
        except OSError as error:
            if why := why_not_trusted(error, address):
                raise BrokerUnavailable(f"the broker at {where} is not used, {why}") from error
            raise BrokerUnavailable(f"no broker at {where}: {error.strerror or error}") from error

    async def subscribe(self, subscriptions: tuple[Subscription, ...]) -> None:
        """Subscribe, and wait until the broker has granted everything.

        Raises:
            BrokerUnavailable: it refused a subscription, or the connection was lost.
        """
        if self._granted.done():  # an earlier call
            self._granted = asyncio.get_running_loop().create_future()
        self._client.subscribe([_gmqtt_subscription(each) for each in subscriptions])
        for subscription, code in zip(subscriptions, await self._or_lost(self._granted), strict=False):
            if code >= FAILURE:
                raise BrokerUnavailable(f"the broker refused the subscription to {subscription.filter} (0x{code:02X})")

    def unsubscribe(self, filters: tuple[str, ...]) -> None:
        """Send UNSUBSCRIBE."""
        self._client.unsubscribe(list(filters))

    def publish(self, message: gmqtt.Message) -> int:
        """Send a PUBLISH packet; return its packet identifier."""
        packet_id: int = self._client._connection.publish(message)[0]
        return packet_id

    def write(self, packets: bytes) -> None:
        """Send encoded packets."""
        self._client._connection._protocol.write_data(packets)

    def ping(self) -> None:
        """Send PINGREQ."""
        self._client._connection._send_ping_request()

    async def until_lost(self) -> None:
        """Wait until the connection is lost.

        Raises:
            BrokerUnavailable: always, unless the next applies; the text gives the reason.
            TakenOver: another client connected with the same client id.
        """
        while not self._lost.done():
            await asyncio.wait({self._lost}, timeout=KEEP_ALIVE_S / 4)
            silent_s = time.monotonic() - self._client._connection._last_data_in
            if silent_s > 2 * KEEP_ALIVE_S:
                raise BrokerUnavailable(f"the broker has been silent for {silent_s:.0f} s")
        self._lost.result()

    async def disconnect(self) -> None:
        """Send DISCONNECT, so that the broker does not publish the will; wait up to a second for the connection to close."""
        await asyncio.wait({asyncio.ensure_future(self._client.disconnect())}, timeout=1)

    def send_disconnect(self) -> None:
        """Send DISCONNECT without waiting, if there was a connection at all."""
        if self._client._connection is not None:
            self._client._connection.send_disconnect()

    def abort(self) -> None:
        """Close the connection at once. Nothing is delivered from now on."""
        if not self._lost.cancel() and not self._lost.cancelled():
            self._lost.exception()  # `until_lost` raised it, or nothing waited; asyncio warns of one that is not retrieved
        if self._client._connection is not None:
            self._client._connection._transport.abort()

    async def _or_lost(self, answer: Awaitable[T]) -> T:
        """Wait for an answer of the broker.

        Raises:
            BrokerUnavailable: the connection was lost first.
        """
        waiting = asyncio.ensure_future(answer)
        try:
            await asyncio.wait([waiting, self._lost], return_when=asyncio.FIRST_COMPLETED)  # type: ignore[type-var]
            if not waiting.done():
                self._lost.result()
            return await waiting
        finally:
            waiting.cancel()

    def _new_client(self) -> gmqtt.Client:
        options = self._options
        properties: dict[str, Any] = {"receive_maximum": options.receive_maximum}
        if options.session_expiry_s:
            properties["session_expiry_interval"] = options.session_expiry_s
        client = gmqtt.Client(
            options.full_client_id,
            clean_session=options.session_expiry_s == 0,
            will_message=options.will,
            logger=_gmqtt_log,
            **properties,
        )
        if self._address.username:
            client.set_auth_credentials(self._address.username, self._address.password)
        client.set_config({"reconnect_retries": _NEVER_RECONNECT})
        client.on_connect = self._on_connack
        client.on_subscribe = self._on_suback
        client.on_disconnect = self._on_disconnect
        packet_handlers = client._package_handler._handler_cache
        client._package_handler.take_publishes = self._take_publishes
        packet_handlers[MQTTCommands.PUBLISH] = self._guarded(self._on_publish)
        packet_handlers[MQTTCommands.PUBREL] = self._guarded(self._on_pubrel)
        packet_handlers[MQTTCommands.PUBACK] = self._guarded(self._on_puback)
        packet_handlers[MQTTCommands.PINGRESP] = self._guarded(lambda _command, _body: self._on_pong())
        return client

    def _guarded(self, handler: Callable[[int, bytes], None]) -> Callable[[int, bytes], None]:
        """End the connection when a packet cannot be handled: gmqtt would log the exception and continue."""

        def guarded(command: int, body: bytes) -> None:
            if self._lost.done():
                return
            try:
                handler(command, body)
            except Exception as error:
                self._lost.set_exception(error)

        return guarded

    def _take_publishes(self, data: bytes, position: int) -> int:
        """Take a run of PUBLISH packets of the usual form; any other one reaches `_on_publish` through gmqtt."""
        if self._lost.done():
            return position
        deliveries, position = parse_publishes(data, position, self._topics)
        try:
            if deliveries:
                self._on_deliveries(deliveries)
        except Exception as error:
            self._lost.set_exception(error)
        return position

    def _on_publish(self, command: int, body: bytes) -> None:
        self._on_deliveries([parse_publish(command, body)])

    def _on_pubrel(self, _command: int, body: bytes) -> None:
        packet_id, _reason = parse_reason(body)
        self.write(publish_complete(packet_id))

    def _on_puback(self, command: int, body: bytes) -> None:
        self._client._package_handler._handle_puback_packet(command, body)
        self._on_acknowledged(*parse_reason(body))

    def _on_connack(self, client: gmqtt.Client, session_present: int, *_: Any) -> None:
        self._session.set_result(bool(session_present))
        receive_maximum = client._package_handler._connack_properties.get("receive_maximum", [LARGEST_WINDOW])[0]
        self.window = min(LARGEST_WINDOW, receive_maximum - 1)

    def _on_suback(self, _client: gmqtt.Client, _packet_id: int, codes: tuple[int, ...], *_: Any) -> None:
        if not self._granted.done():
            self._granted.set_result(codes)

    def _on_disconnect(self, _client: gmqtt.Client, packet: Any, *_: Any) -> None:
        if self._lost.done():
            return
        reason = packet[0] if isinstance(packet, bytes) and packet else 0
        lost = "the connection to the broker was lost"
        error: Exception = BrokerUnavailable(f"{lost} (0x{reason:02X})") if reason else _Closed(lost)
        if reason == _TAKEN_OVER:
            error = TakenOver(f"another client took the place of {self._options.client_id}: is it running twice?")
        self._lost.set_exception(error)


def _gmqtt_subscription(subscription: Subscription) -> gmqtt.Subscription:
    return gmqtt.Subscription(
        subscription.filter,
        qos=subscription.qos,
        no_local=subscription.no_local,
        retain_as_published=subscription.retain_as_published,
        retain_handling_options=subscription.retain_handling,
    )
