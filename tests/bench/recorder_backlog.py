"""Readings as devices send them, put on the broker faster than any client library does: packets by hand on a plain socket.

MQTT 3.1.1, whose PUBACK has four bytes always, so that acknowledgements are counted without being parsed.
"""

import itertools
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

_CONNECT = bytes([0x10, 12, 0, 4, *b"MQTT", 4, 2, 0, 0, 0, 0])
"""Clean session, no keep-alive, client id of the broker's choice."""
_DISCONNECT = b"\xe0\x00"
_PUBACK_BYTES = 4
_IDENTIFIERS = 65_535
_WINDOW = 10_000
_CHUNK = 1_000


@dataclass(frozen=True, slots=True)
class Fleet:
    """Sensors that report in turn, each with values that never repeat: `rooms` × `sensors` of them, at least 0.001 K apart."""

    rooms: int
    sensors: int = 5
    first: int = 0
    """Number of the first reading: fleets that differ by as many readings as were sent share no value."""
    prefix: str = "room-"
    named_from: int = 1
    """Names of the rooms: a text, and the number of the first one."""

    def packets(self, count: int) -> Iterator[bytes]:
        """Return `count` PUBLISH packets at QoS 1 (MQTT 3.1.1 section 3.3)."""
        identifiers = itertools.cycle(range(1, _IDENTIFIERS + 1))
        for number, identifier in zip(range(self.first, self.first + count), identifiers, strict=False):
            turn, place = divmod(number, self.rooms * self.sensors)
            sensor, room = divmod(place, self.rooms)
            name = b"%s%d" % (self.prefix.encode(), self.named_from + room)
            yield _publish(name, sensor, 15_000 + turn, identifier)


def _publish(room: bytes, sensor: int, millidegrees_c: int, identifier: int) -> bytes:
    topic = b"/readings/%s/temperature" % room
    celsius = b"%d.%03d" % divmod(millidegrees_c, 1000)
    payload = b'{"sensorID":"sensor-%d","type":"temperature","value":%s}' % (sensor + 1, celsius)
    length = 2 + len(topic) + 2 + len(payload)
    remaining = bytes([length]) if length < 128 else bytes([length & 127 | 128, length >> 7])
    return b"\x32" + remaining + len(topic).to_bytes(2) + topic + identifier.to_bytes(2) + payload


class Device:
    """A connection without a login that publishes at QoS 1, with at most 10,000 messages not acknowledged."""

    def __init__(self, host: str, port: int, timeout_s: float = 60.0) -> None:
        self._socket = socket.create_connection((host, port), timeout_s)
        self._socket.sendall(_CONNECT)
        if self._socket.recv(4, socket.MSG_WAITALL) != b"\x20\x02\x00\x00":
            raise ConnectionError("the broker refused the bench's device")
        self._received_bytes = 0
        self.sent = 0

    @property
    def acknowledged(self) -> int:
        """Messages that the broker has taken over."""
        return self._received_bytes // _PUBACK_BYTES

    def send(self, packets: list[bytes]) -> None:
        """Publish, waiting for acknowledgements where the window is full."""
        self._socket.sendall(b"".join(packets))
        self.sent += len(packets)
        self._receive_until(self.sent - _WINDOW)

    def flush(self) -> None:
        """Wait for the last acknowledgement."""
        self._receive_until(self.sent)

    def finish(self) -> None:
        """Wait for the last acknowledgement and leave."""
        self.flush()
        self._socket.sendall(_DISCONNECT)
        self._socket.close()

    def _receive_until(self, acknowledged: int) -> None:
        while self.acknowledged < acknowledged:
            received = self._socket.recv(65_536)
            if not received:
                raise ConnectionError("the broker hung up on the bench's device")
            self._received_bytes += len(received)


def publish_all(host: str, port: int, fleet: Fleet, count: int) -> None:
    """Publish `count` readings as fast as the broker takes them."""
    device = Device(host, port)
    packets = fleet.packets(count)
    while chunk := list(itertools.islice(packets, _CHUNK)):
        device.send(chunk)
    device.finish()


def publish_evenly(host: str, port: int, fleet: Fleet, per_s: float, duration_s: float) -> tuple[float, float]:
    """Publish `per_s` readings a second, a little every 5 ms; return when it began and when the last one was acknowledged.

    Both in seconds of the machine's monotonic clock, which is the same in every process. The packets are made before: devices
    make theirs elsewhere.
    """
    count = round(per_s * duration_s)
    packets = list(fleet.packets(count))
    device = Device(host, port)
    began_s = time.monotonic()
    while device.sent < count:
        due = min(count, int((time.monotonic() - began_s) * per_s) + 1)
        if due > device.sent:
            device.send(packets[device.sent : due])
        time.sleep(0.005)
    device.finish()
    return began_s, time.monotonic()
