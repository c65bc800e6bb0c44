"""The byte stream under gmqtt: read in time linear in its length and not in crumbs, and written once per turn of the loop.

gmqtt's own reader copies and parses everything it has on each 64 KiB, which takes minutes for a message of 60 MB, and counts
the broker as silent until that message is complete. Its writer makes a system call for each packet, which takes longer than
making the packet.

A broker that has one message after the other writes each by itself. Whoever reads as they come has a turn of the loop for every
few of them: at 25,000 messages a second the recorder took 34 µs for each. So a stream that goes on like that is left alone for
some milliseconds between two reads, which makes that 25 µs (`python -m tests.bench.recorder --only sustained`).
"""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

from gmqtt.mqtt import connection as gmqtt_connection
from gmqtt.mqtt.protocol import MQTTProtocol

TakePublishes = Callable[[bytes, int], int]
"""Takes the PUBLISH packets that follow each other in some bytes from a position on, and returns where they end."""

_CHUNK_BYTES = 256 * 1024
_CRUMB_BYTES = range(8, 32 * 1024)
"""An acknowledgement alone is none: who waits for one after the other is not to wait longer."""
_SOON_S = 0.001
_MANY = 16
"""So many crumbs in a row, each there so soon after the last one was read, are a busy stream."""
_GATHER_S = 0.002
_LONGEST_HEADER = 5
"""Bytes: packet type and a remaining length of up to four (MQTT 5 section 2.1.1)."""


def packet_bytes(buffer: bytes | bytearray) -> int:
    """Return the length of the packet that `buffer` begins with, or one more than is there while its header is incomplete.

    Raises:
        ValueError: the remaining length has more than four bytes.
    """
    length = 0
    for index in range(1, min(len(buffer), _LONGEST_HEADER)):
        length |= (buffer[index] & 127) << 7 * (index - 1)
        if buffer[index] < 128:
            return 1 + index + length
    if len(buffer) >= _LONGEST_HEADER:
        raise ValueError("a remaining length has more than four bytes")
    return len(buffer) + 1


class Protocol(MQTTProtocol):  # type: ignore[misc]
    """gmqtt's protocol with another read loop, and packets that leave together, in their order."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unwritten: list[bytes] = []

    def write_data(self, data: bytes) -> None:
        """Write a packet at the end of this turn of the loop."""
        if not self._unwritten:
            asyncio.get_running_loop().call_soon(self._write)
        self._unwritten.append(data)

    def send_disconnect(self, *args: Any, **kwargs: Any) -> None:
        """Write DISCONNECT, and what comes before it, at once: the connection is closed next."""
        super().send_disconnect(*args, **kwargs)
        self._write()

    def _write(self) -> None:
        unwritten, self._unwritten = self._unwritten, []
        if unwritten and self._transport is not None and not self._transport.is_closing():
            self._connection._last_data_out = time.monotonic()
            self._transport.write(b"".join(unwritten))

    async def _read_loop(self) -> None:
        await self._connected.wait()
        buffer = bytearray()
        crumbs, asked_s = 0, -math.inf
        try:
            while self._connected.is_set() and not self._transport.is_closing():
                data = await self.read(_CHUNK_BYTES)
                self._connection._last_data_in = read_s = time.monotonic()
                crumbs = crumbs + 1 if len(data) in _CRUMB_BYTES and read_s - asked_s < _SOON_S else 0
                buffer += data
                if len(buffer) >= packet_bytes(buffer):
                    del buffer[: self._take(bytes(buffer))]
                if crumbs >= _MANY:
                    await self._gather()
                asked_s = time.monotonic()
        except ConnectionResetError:
            return  # the end of the stream; gmqtt's connection_lost tells everybody
        except ValueError:
            self._transport.abort()

    async def _gather(self) -> None:
        """Leave what comes to the kernel for a moment."""
        self._transport.pause_reading()
        await asyncio.sleep(_GATHER_S)
        self._transport.resume_reading()

    def _take(self, data: bytes) -> int:
        """Hand over the complete packets of `data`, runs of PUBLISH packets at once; return how many bytes they have."""
        take_publishes: TakePublishes = self._connection._handler.take_publishes
        position = 0
        while position < len(data):
            position = take_publishes(data, position)
            length = packet_bytes(data[position : position + _LONGEST_HEADER])
            if length > len(data) - position:
                break
            self._read_packet(data[position : position + length])
            position += length
        return position


def install() -> None:
    """Make gmqtt use this reader for every connection of this process."""
    connections: Any = gmqtt_connection
    connections.MQTTProtocol = Protocol
