"""A blocking connection to the broker: paho in one thread, one step at a time.

Nothing runs in the background. Packets are read and written while a call waits, so there are no locks and no callbacks for
callers, and Ctrl-C interrupts the work itself. Messages that arrive meanwhile stay in order until `receive` returns them.
"""

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from adapters.client.bus import Received, login_refused, no_answer, no_broker, not_trusted, place, publication_refused
from adapters.client.errors import ConnectionLost, Refused, Unreachable
from adapters.client.paho_client import PackedProperties, PahoClient, new_properties, send_at_once, use_tls
from broker.message import Publication
from broker.mqtt.options import Address
from broker.mqtt.packets import Delivery, parse_properties
from broker.mqtt.tls import why_not_trusted
from broker.mqtt.topics import matches
from broker.runtime.clock import new_boot
from broker.stamp import read_stamp

CONNECT_TIMEOUT_S = 3.0
ANSWER_TIMEOUT_S = 5.0
KEEP_ALIVE_S = 60
_STEP_S = 0.5
_STRAGGLERS_S = 0.15
_REMEMBERED_PACKETS = 1_000
_WINDOW = 500
"""Posted messages that may be unacknowledged; fewer where the broker's receive maximum is smaller."""
_WINDOW_BYTES = 16 * 1024 * 1024
_POSTED_TIMEOUT_S = 30.0
_QOS_2 = 2

_NO_SUBSCRIBERS = 0x10


class PahoBus:
    """A connection to a broker by MQTT 5. Use `connected` to make one that closes itself."""

    def __init__(self, address: Address, client_id: str | None = None, session_expiry_s: int = 0) -> None:
        self.client_id = client_id or f"scaup-cli-{secrets.token_hex(6)}"
        """The part of the client id that answer topics show: who may read them must not get at its session."""
        self.answer_name = f"{address.username}/{self.client_id}" if address.username else self.client_id
        self._secret = secrets.token_hex(16)
        self._address, self._session_expiry_s = address, session_expiry_s
        self._where = place(address)
        self._inbox: deque[Received] = deque()
        self._recent: deque[int] = deque(maxlen=_REMEMBERED_PACKETS)
        self._connack: int | None = None
        self._session_present = False
        self._reason = ""
        self._granted: dict[int, list[int]] = {}
        self._published: dict[int, int] = {}
        self._posted: dict[int, tuple[str, int]] = {}
        self._posted_bytes = self._posted_qos = 0
        self._window = _WINDOW
        self._source = address.username or "operator"
        self._boot, self._seq = new_boot(), 0
        self._keep_alive_s = KEEP_ALIVE_S
        self._client = self._new_client()

    def connect(self, resume: bool = False) -> bool:
        """Connect, and return whether the broker still had the session; `resume` asks for the earlier session.

        Raises:
            Unreachable: there is no broker, or it does not answer or does not speak MQTT 5.
            Refused: the broker does not accept the login.
        """
        self._connack = None
        properties = new_properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = self._session_expiry_s
        try:
            self._client.connect(
                self._address.host, self._address.port, self._keep_alive_s, clean_start=not resume, properties=properties
            )
        except (OSError, ValueError) as error:
            if why := why_not_trusted(error, self._address):
                raise not_trusted(self._address, why) from error
            raise no_broker(self._address, str(getattr(error, "strerror", None) or error)) from error
        if not self._step_until(lambda: self._connack is not None, CONNECT_TIMEOUT_S, lost_is_error=False):
            closed = self._client.socket() is None and not self._reason
            raise no_answer(self._address) if closed else no_broker(self._address, self._reason or "it does not answer")
        if self._connack:
            raise login_refused(self._address, self._connack)
        return self._session_present

    def last_will(self, publication: Publication, keep_alive_s: int) -> None:
        """Set what the broker publishes when this connection is lost, from the next `connect` on.

        The broker notices a lost connection after one and a half times `keep_alive_s` at the latest, and at once where the
        process is killed. `close` revokes the will. It is stamped but not numbered, since it may never be published.
        """
        properties = new_properties(PacketTypes.WILLMESSAGE)
        properties.UserProperty = [("source", self._source), ("boot", self._boot), *publication.properties]
        if publication.content_type is not None:
            properties.ContentType = publication.content_type
        self._client.will_set(publication.topic, publication.payload, publication.qos, publication.retain, properties)
        self._keep_alive_s = keep_alive_s

    def close(self) -> None:
        """Disconnect, and let the broker delete the session."""
        properties = new_properties(PacketTypes.DISCONNECT)
        properties.SessionExpiryInterval = 0
        self._client.disconnect(properties=properties)

    def subscribe(self, *filters: str) -> None:
        """Subscribe at QoS 1 to what is published from now on; retained messages of the past are not sent.

        Raises:
            Refused: the broker does not allow it.
            Unreachable: the connection was lost or the broker does not answer.
        """
        self._subscribe(
            filters, SubscribeOptions(1, retainAsPublished=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
        )

    def retained(self, *filters: str) -> dict[str, Received]:
        """Return the retained messages on these filters by topic.

        A broker answers in order, so the acknowledgement of a second SUBSCRIBE comes after all messages that the first one
        brought. This holds at QoS 0 only: at QoS 1 the broker sends no more than may be unacknowledged, and the rest later.
        The filters must not overlap with those of `subscribe`, since they are unsubscribed at the end. Messages that arrive
        meanwhile on filters of `subscribe` stay to be received, with the retain flag or without.

        Raises:
            Refused: the broker does not allow it.
            Unreachable: the connection was lost or the broker does not answer.
        """
        live, self._inbox = self._inbox, deque()
        self._subscribe(filters, SubscribeOptions(0, retainHandling=SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE))
        self._subscribe(filters, SubscribeOptions(0, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND))

        def wanted(each: Received) -> bool:
            return each.retain and any(matches(one, each.topic) for one in filters)

        self._step_until(lambda: any(map(wanted, self._inbox)), _STRAGGLERS_S)  # a broker may send them late
        self._client.unsubscribe(list(filters))
        found = {each.topic: each for each in self._inbox if wanted(each)}
        self._inbox = live + deque(each for each in self._inbox if not wanted(each))
        return found

    def publish(self, publication: Publication, expiry_s: int | None = None) -> bool:
        """Publish, wait for the broker's acknowledgement, and return whether the topic has a subscriber.

        Raises:
            Refused: the broker refused the message; the text has the reason code.
            Unreachable: the connection was lost or the broker does not answer.
        """
        reason = self._publish(publication, expiry_s)
        if reason >= 0x80:
            raise publication_refused(self._address, publication.topic, reason)
        return reason != _NO_SUBSCRIBERS

    def try_publish(self, publication: Publication) -> int:
        """Publish and return the reason code of the broker's acknowledgement (MQTT 5, section 3.4.2.1).

        Raises:
            Unreachable: the connection was lost or the broker does not answer.
        """
        return self._publish(publication, None)

    def send(self, publication: Publication) -> None:
        """Publish at QoS 1 and do not wait for the acknowledgement; a connection that is lost is ignored."""
        properties = self._properties(publication, None)
        self._client.publish(publication.topic, publication.payload, 1, publication.retain, properties)

    def _publish(self, publication: Publication, expiry_s: int | None) -> int:
        properties = self._properties(publication, expiry_s)
        sent = self._client.publish(publication.topic, publication.payload, 1, publication.retain, properties)
        if not self._step_until(lambda: sent.mid in self._published, ANSWER_TIMEOUT_S):
            raise Unreachable(f"the broker at {self._where} did not acknowledge a message", "see `scaup doctor`")
        return self._published.pop(sent.mid)

    def post(self, publication: Publication, qos: int) -> None:
        """Publish with the properties of `publication` only, without a stamp of this connection, and return at once.

        It waits only while too many messages are unacknowledged. The broker takes messages in the order of these calls; one of
        QoS 2 counts as taken only after its second handshake, so others wait for that.

        Raises:
            Refused: the broker refused one of the messages posted; the text has its topic and the reason code.
            Unreachable: the connection was lost or the broker does not answer.
        """
        if self._posted_qos == _QOS_2 != qos:
            self.settle()
        elif len(self._posted) >= self._window or self._posted_bytes >= _WINDOW_BYTES:
            self._settle(self._window // 2, _WINDOW_BYTES // 2)
        properties = PackedProperties(publication.properties)
        sent = self._client.publish(publication.topic, publication.payload, qos, publication.retain, properties)  # type: ignore[arg-type]
        if sent.rc == paho.MQTT_ERR_NO_CONN:
            raise self._lost()
        self._posted[sent.mid] = (publication.topic, len(publication.payload))
        self._posted_bytes += len(publication.payload)
        self._posted_qos = qos

    def settle(self) -> None:
        """Wait until all that was posted is acknowledged, or at QoS 0 written.

        Raises:
            Refused: the broker refused one of the messages posted; the text has its topic and the reason code.
            Unreachable: the connection was lost or the broker does not answer.
        """
        self._settle(0, 0)

    def idle(self, duration_s: float) -> None:
        """Wait, and serve the connection meanwhile.

        Raises:
            Refused: the broker refused one of the messages posted; the text has its topic and the reason code.
            ConnectionLost: the connection was lost.
        """
        self._step_until(lambda: False, duration_s)
        self._account()

    def receive(self, timeout_s: float) -> Received | None:
        """Return the next message, None if there is none in time.

        Raises:
            ConnectionLost: the connection was lost and no message is left.
        """
        if not self._inbox:
            self._step_until(lambda: bool(self._inbox), timeout_s)
        return self._inbox.popleft() if self._inbox else None

    def _settle(self, most: int, most_bytes: int) -> None:
        """Wait until no more than this is unacknowledged."""
        while len(self._posted) > most or self._posted_bytes > most_bytes:
            if not self._step_until(lambda: bool(self._published), _POSTED_TIMEOUT_S):
                raise Unreachable(f"the broker at {self._where} does not acknowledge messages", "see `scaup doctor`")
            self._account()

    def _account(self) -> None:
        """Note which messages were acknowledged, or at QoS 0 written."""
        while self._published:
            mid, reason = self._published.popitem()
            reason = self._client.refused_at_pubrec.pop(mid, reason)
            topic, size = self._posted.pop(mid, ("", 0))
            self._posted_bytes -= size
            if reason >= 0x80 and topic:
                raise publication_refused(self._address, topic, reason)

    def _new_client(self) -> PahoClient:
        client = PahoClient(
            self._take,
            CallbackAPIVersion.VERSION2,
            f"{self.client_id}-{self._secret}",
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages = 0  # counted here: paho would look at all of them for each acknowledgement
        if self._address.username is not None:
            client.username_pw_set(self._address.username, self._address.password)
        if self._address.ca:
            use_tls(client, self._address.ca)
        client.on_socket_open = send_at_once
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = lambda _client, _userdata, mid, codes, _properties: self._granted.update(
            {mid: [code.value for code in codes]}
        )
        client.on_publish = lambda _client, _userdata, mid, code, _properties: self._published.update({mid: code.value})
        return client

    def _on_connect(self, _client: object, _userdata: object, flags: Any, code: Any, properties: object) -> None:
        self._connack, self._session_present = code.value, bool(flags.session_present)
        self._window = min(_WINDOW, getattr(properties, "ReceiveMaximum", _WINDOW))
        if not self._session_present:
            self._recent.clear()  # packet identifiers are assigned per session

    def _on_disconnect(self, _client: object, _userdata: object, flags: Any, code: Any, _properties: object) -> None:
        if flags.is_disconnect_packet_from_server:
            self._reason = f"{str(code).lower()} (0x{code.value:02X})"

    def _take(self, delivery: Delivery) -> None:
        if delivery.dup and delivery.packet_id in self._recent:
            return  # received before the connection was lost, but the acknowledgement did not arrive
        if delivery.qos:  # at QoS 0 there is no packet identifier
            self._recent.append(delivery.packet_id)
        properties = parse_properties(delivery.properties)
        self._inbox.append(
            Received(
                topic=delivery.topic,
                payload=delivery.payload,
                at=datetime.now(UTC),
                qos=delivery.qos,
                retain=delivery.retain,
                response_topic=properties.response_topic,
                correlation_data=properties.correlation_data,
                content_type=properties.content_type,
                properties=properties.user,
                stamp=read_stamp(properties.user),
            )
        )

    def _step_until(self, done: Callable[[], bool], timeout_s: float, lost_is_error: bool = True) -> bool:
        deadline_s = time.monotonic() + timeout_s
        while not done():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return False
            if self._client.loop(min(left_s, _STEP_S)) != paho.MQTT_ERR_SUCCESS and not done():
                if not lost_is_error:
                    return False
                raise self._lost()
        return True

    def _lost(self) -> ConnectionLost:
        return ConnectionLost(f"the connection to the broker at {self._where} was lost {self._reason}".rstrip())

    def _subscribe(self, filters: tuple[str, ...], options: SubscribeOptions) -> None:
        _, mid = self._client.subscribe([(each, options) for each in filters])
        received = -1
        while mid not in self._granted:  # the broker may send many retained messages before its answer
            if mid is None or received == len(self._inbox):
                raise Unreachable(f"the broker at {self._where} does not answer a subscription", "see `scaup doctor`")
            received = len(self._inbox)
            self._step_until(lambda: mid in self._granted, ANSWER_TIMEOUT_S)
        refused = [each for each, code in zip(filters, self._granted.pop(mid), strict=False) if code >= 0x80]
        if refused:
            raise Refused(f"the broker refused the subscription to {', '.join(refused)}", "ask for less, or log in")

    def _properties(self, publication: Publication, expiry_s: int | None) -> Properties:
        self._seq += 1
        properties = new_properties(PacketTypes.PUBLISH)
        stamp = [("source", self._source), ("boot", self._boot), ("seq", str(self._seq))]
        properties.UserProperty = [*stamp, *publication.properties]
        given = {
            "ResponseTopic": publication.response_topic,
            "MessageExpiryInterval": expiry_s,
            "CorrelationData": publication.correlation_data,
            "ContentType": publication.content_type,
        }
        for name, value in given.items():
            if value is not None:
                setattr(properties, name, value)
        return properties


@contextmanager
def connected(
    address: Address,
    client_id: str | None = None,
    session_expiry_s: int = 0,
    will: Callable[[str], Publication] | None = None,
) -> Iterator[PahoBus]:
    """Connect for the time of a `with` block. `will` returns the last will for an `answer_name`.

    Raises:
        Unreachable: there is no broker, or it does not answer.
        Refused: the broker does not accept the login.
    """
    bus = PahoBus(address, client_id, session_expiry_s)
    if will is not None:
        bus.last_will(will(bus.answer_name), KEEP_ALIVE_S)
    bus.connect()
    try:
        yield bus
    finally:
        bus.close()
