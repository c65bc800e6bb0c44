"""paho's MQTT 5 client, with the changes that `paho_bus` needs; this is the one place that reaches into paho."""

import socket
import ssl
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties

from adapters.client.errors import WrongUsage
from broker.errors import InvalidSetting
from broker.mqtt.packets import Delivery, MalformedPacket, UserProperties, pack_user_properties, parse_publish, parse_reason
from broker.mqtt.tls import client_context


class PahoClient(paho.Client):
    """A client that notes refused messages of QoS 2, which paho itself ignores.

    It also reads PUBLISH packets itself: with many thousands of retained messages, paho's own reading takes most of the time.
    """

    def __init__(self, take: Callable[[Delivery], None], *args: Any, **kwargs: Any) -> None:
        self.refused_at_pubrec: dict[int, int] = {}
        self._take = take
        super().__init__(*args, **kwargs)

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        """Begin TLS, and close the connection where that fails: paho leaves it open. The context verifies the host name."""
        if self._ssl_context is None:
            raise ValueError("no context for TLS was set")
        made = self._ssl_context.wrap_socket(tcp_sock, server_hostname=self._host, do_handshake_on_connect=False)
        try:
            made.settimeout(self.connect_timeout)
            made.do_handshake()
        except OSError:
            made.close()
            raise
        return made

    def _handle_publish(self) -> MQTTErrorCode:
        try:
            delivery = parse_publish(self._in_packet["command"], bytes(self._in_packet["packet"]))
            self._take(delivery)
        except MalformedPacket:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        if delivery.qos == 0:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        return self._send_puback(delivery.packet_id)  # never QoS 2: no subscription here asks for more than QoS 1

    def _handle_pubrec(self) -> MQTTErrorCode:
        mid, reason = parse_reason(bytes(self._in_packet["packet"]))
        if reason >= 0x80:
            self.refused_at_pubrec[mid] = reason
        return super()._handle_pubrec()


class PackedProperties:
    """User properties that are packed already: paho takes longer for that than for the rest of a publication."""

    def __init__(self, user: UserProperties) -> None:
        self._packed = pack_user_properties(user)

    def pack(self) -> bytes:
        """Return the properties as they are sent, their length first."""
        return self._packed


def new_properties(packet_type: int) -> Properties:
    """Return empty properties for a kind of packet."""
    return Properties(packet_type)  # type: ignore[no-untyped-call]


def use_tls(client: paho.Client, ca: str) -> None:
    """Verify the broker's certificate and its host name with the PEM file `ca`.

    Raises:
        WrongUsage: the file cannot be used.
    """
    try:
        client.tls_set_context(client_context(ca))
    except InvalidSetting as error:
        what, _, fix = str(error).rpartition(": ")
        raise WrongUsage(what, fix) from error


def send_at_once(_client: object, _userdata: object, connection: Any) -> None:
    """Turn off Nagle's algorithm: with delayed ACKs, a request would wait 40 ms behind earlier acknowledgements."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
