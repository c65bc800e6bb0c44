"""Many small MQTT 5 clients in one event loop, which write the wire format themselves: enough for QoS 1 and reason codes."""

import asyncio
import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, DISCONNECT = 1, 2, 3, 4, 8, 9, 14
LIMIT_S = 30.0


def _text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(data)) + data


def _length(count: int) -> bytes:
    out = bytearray()
    while True:
        count, digit = divmod(count, 128)
        out.append(digit | (0x80 if count else 0))
        if not count:
            return bytes(out)


def _packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + _length(len(body)) + body


async def _length_of(reader: asyncio.StreamReader) -> int:
    total, shift = 0, 0
    while True:
        (byte,) = await reader.readexactly(1)
        total |= (byte & 0x7F) << shift
        if byte < 0x80:
            return total
        shift += 7


@dataclass
class Small:
    """One client. `received` has topic and payload of every message, `codes` the reason code of every acknowledgement."""

    name: str
    login: tuple[str, str] | None = None
    received: list[tuple[str, bytes]] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    sent: int = 0
    lost: bool = False
    ended_with: int | None = None
    """Reason code of the broker's DISCONNECT."""
    _pending: dict[int, asyncio.Future[int]] = field(default_factory=dict)
    _task: asyncio.Task[None] | None = None

    async def connect(self, port: int, host: str = "127.0.0.1") -> int:
        """Connect and return the reason code of the broker."""
        self._reader, self._writer = await asyncio.open_connection(host, port)
        flags = 0x02 | (0xC0 if self.login else 0)
        body = _text("MQTT") + bytes([5, flags]) + struct.pack("!H", 0) + b"\x00" + _text(self.name)
        if self.login:
            body += _text(self.login[0]) + _text(self.login[1])
        self._writer.write(_packet(CONNECT << 4, body))
        first, data = await self._read()
        assert first >> 4 == CONNACK
        if data[1] == 0:
            self._task = asyncio.create_task(self._receive())
        return data[1]

    async def subscribe(self, topic_filter: str) -> int:
        """Subscribe at QoS 1 and return the reason code."""
        return await self._asked(SUBSCRIBE << 4 | 2, b"\x00" + _text(topic_filter) + b"\x01")

    async def publish(self, topic: str, payload: bytes, retain: bool = False) -> int:
        """Publish at QoS 1 and return the reason code."""
        self.sent += 1
        number = self.sent % 65_535 + 1
        answer = self._pending[number] = asyncio.get_running_loop().create_future()
        body = _text(topic) + struct.pack("!H", number) + b"\x00" + payload
        self._writer.write(_packet(PUBLISH << 4 | 2 | retain, body))
        code = -1 if self.lost else await asyncio.wait_for(answer, LIMIT_S)
        self.codes.append(code)
        return code

    async def close(self) -> None:
        """Disconnect."""
        if not self.lost:
            with suppress(ConnectionError):
                self._writer.write(_packet(DISCONNECT << 4, b""))
                await self._writer.drain()
        if self._task is not None:
            self._task.cancel()
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _asked(self, first: int, body: bytes) -> int:
        self.sent += 1
        number = self.sent % 65_535 + 1
        answer = self._pending[number] = asyncio.get_running_loop().create_future()
        self._writer.write(_packet(first, struct.pack("!H", number) + body))
        return await asyncio.wait_for(answer, LIMIT_S)

    async def _read(self) -> tuple[int, bytes]:
        (first,) = await self._reader.readexactly(1)
        return first, await self._reader.readexactly(await _length_of(self._reader))

    async def _receive(self) -> None:
        try:
            while True:
                first, data = await self._read()
                self._take(first, data)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.lost = True
            for answer in self._pending.values():
                if not answer.done():
                    answer.set_result(-1)

    def _take(self, first: int, data: bytes) -> None:
        kind = first >> 4
        if kind == PUBLISH:
            (size,) = struct.unpack_from("!H", data)
            topic, rest = data[2 : 2 + size].decode(), data[2 + size :]
            if first & 0x06:
                self._writer.write(_packet(PUBACK << 4, rest[:2]))
                rest = rest[2:]
            self.received.append((topic, _after_properties(rest)))
        elif kind in (PUBACK, SUBACK):
            (number,) = struct.unpack_from("!H", data)
            code = data[-1] if kind == SUBACK else (data[2] if len(data) > 2 else 0)
            answer = self._pending.pop(number, None)
            if answer is not None and not answer.done():
                answer.set_result(code)
        elif kind == DISCONNECT:
            self.ended_with = data[0] if data else 0


def _after_properties(data: bytes) -> bytes:
    total, shift, at = 0, 0, 0
    while True:
        byte = data[at]
        at += 1
        total |= (byte & 0x7F) << shift
        if byte < 0x80:
            return data[at + total :]
        shift += 7


async def connect_all(clients: Iterable[Small], port: int) -> list[int]:
    """Connect many clients, fifty at a time; return the reason codes."""
    waiting, codes = list(clients), []
    while waiting:
        group, waiting = waiting[:50], waiting[50:]
        codes += await asyncio.gather(*(each.connect(port) for each in group))
    return codes
