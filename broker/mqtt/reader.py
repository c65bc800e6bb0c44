"""The byte stream under gmqtt: read in linear time and in large pieces, and written once per iteration of the event loop.

For each 64 KiB that arrive, gmqtt's own reader copies and parses its whole buffer. That takes minutes for a message of 60 MB,
and the broker counts as silent until the message is complete. Its writer makes a system call per packet, which takes longer
than building the packet.

A broker with a steady stream of messages writes each one separately, so a reader that takes them as they arrive spends an
iteration of the event loop on every few: at 25,000 messages a second the recorder took 34 µs for each. While small reads follow
each other closely, the reader therefore pauses for some milliseconds between them, which makes that 25 µs
(`python -m tests.bench.recorder --only sustained`).
"""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

from gmqtt.mqtt import connection as gmqtt_connection
from gmqtt.mqtt.protocol import MQTTProtocol

TakePublishes = Callable[[bytes, int], int]
"""Takes the run of PUBLISH packets that begins at a position, and returns the position where it ends."""

_CHUNK_BYTES = 256 * 1024
_SMALL_READ = range(8, 32 * 1024)
"""Bytes. A read that holds only an acknowledgement does not count: pausing would delay a client that waits for each one."""
_SOON_S = 0.001
_BUSY_READS = 16
"""So many small reads in a row, each at most `_SOON_S` after the one before, make a busy stream."""
_PAUSE_S = 0.002
_LONGEST_HEADER = 5
"""Bytes: packet type and a remaining length of up to four (MQTT 5 section 2.1.1)."""


def packet_bytes(buffer: bytes | bytearray) -> int:
    """Return the length of the packet at the start of `buffer`; while its header is incomplete, one more than there is.

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
    """gmqtt's protocol with another read loop, and with packets that are written together, in their order."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unwritten: list[bytes] = []

    def write_data(self, data: bytes) -> None:
        """Write a packet at the end of this iteration of the event loop."""
        if not self._unwritten:
            asyncio.get_running_loop().call_soon(self._write)
        self._unwritten.append(data)

    def send_disconnect(self, *args: Any, **kwargs: Any) -> None:
        """Write DISCONNECT, and all packets before it, at once: the connection is closed next."""
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
        small_reads, previous_s = 0, -math.inf
        try:
            while self._connected.is_set() and not self._transport.is_closing():
                data = await self.read(_CHUNK_BYTES)
                self._connection._last_data_in = read_s = time.monotonic()
                small_reads = small_reads + 1 if len(data) in _SMALL_READ and read_s - previous_s < _SOON_S else 0
                buffer += data
                if len(buffer) >= packet_bytes(buffer):
                    del buffer[: self._take(bytes(buffer))]
                if small_reads >= _BUSY_READS:
                    await self._pause()
                previous_s = time.monotonic()
        except ConnectionResetError:
            return  # the end of the stream; gmqtt calls connection_lost
        except ValueError:
            self._transport.abort()

    async def _pause(self) -> None:
        """Let data accumulate in the kernel for a moment."""
        self._transport.pause_reading()
        await asyncio.sleep(_PAUSE_S)
        self._transport.resume_reading()

    def _take(self, data: bytes) -> int:
        """Handle the complete packets of `data`, runs of PUBLISH packets at once; return their length in bytes."""
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
