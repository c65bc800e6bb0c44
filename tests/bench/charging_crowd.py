"""Many chargers and widgets for the bench, on plain asyncio, so that they load the machine less than the adapter does.

They run in their own processes, which answer lines on standard input: `send` with a JSON object about the statuses that
widgets received, `storm` with one about reconnecting, all at once, as soon as the server is gone. Each state of charge, 79 and
80 in turn, changes the widget's status, so that each message can be followed to the widget; one point is noise, and begins no
new session.
"""

import argparse
import asyncio
import base64
import json
import os
import resource
import struct
import sys
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable

SOCS = (79, 80)
STATUSES = ("charging", "charging80")
CONNECTING_AT_ONCE = 200


class Socket(asyncio.Protocol):
    """A websocket client, RFC 6455 as far as the bench needs it."""

    def __init__(self, path: str, closed: Counter[str]) -> None:
        self._path, self._closed = path, closed
        self._received = b""
        self.open = asyncio.get_running_loop().create_future()
        self.disconnected = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self.open.done():
            head, end, self._received = self._received.partition(b"\r\n\r\n")
            if not end:
                self._received = head
                return
            if b" 101 " not in head.split(b"\r\n")[0]:
                self.open.set_exception(ConnectionError(head.decode()))
                return
            self.open.set_result(None)
        while len(self._received) >= 2 and len(self._received) >= 2 + self._received[1]:  # the server's frames are short
            size = 2 + self._received[1]
            frame, self._received = self._received[:size], self._received[size:]
            self._take(frame[0] & 15, frame[2:])

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == 9:
            self.send(payload, 0x8A)
        elif opcode == 1:
            self.on_text(payload)

    def on_text(self, payload: bytes) -> None:
        """Take a text frame."""

    def send(self, payload: bytes, first: int = 0x81) -> None:
        """Send a masked frame, of 125 bytes at most."""
        mask = os.urandom(4)
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes((mask * 32)[: len(payload)], "big")).to_bytes(
            len(payload), "big"
        )
        self.transport.write(struct.pack("!BB", first, 0x80 | len(payload)) + mask + masked)

    def connection_lost(self, error: Exception | None) -> None:
        self._closed[type(self).__name__] += 1
        self.disconnected.set()
        if not self.open.done():
            self.open.set_exception(error or ConnectionError("closed"))


class Widget(Socket):
    """Notes each status and its delay."""

    def __init__(self, path: str, closed: Counter[str], delays_s: list[float]) -> None:
        super().__init__(path, closed)
        self.awaited: deque[tuple[float, str]] = deque()
        self.unexpected: list[str] = []
        self._delays_s = delays_s

    def on_text(self, payload: bytes) -> None:
        status = json.loads(payload)["data"]["status"]
        if self.awaited and self.awaited[0][1] == status:
            self._delays_s.append(time.monotonic() - self.awaited.popleft()[0])
        else:
            self.unexpected.append(status)


class Crowd:
    """Pairs of a charger and a widget, from `first` on."""

    def __init__(self, given: argparse.Namespace) -> None:
        self._given = given
        self.delays_s: list[float] = []
        self.closed: Counter[str] = Counter()
        self.pairs: list[tuple[Socket, Widget]] = []
        self.sent = 0

    async def connect(self) -> float:
        """Connect all clients; return how long it took, in s."""
        began_s = time.monotonic()
        gate = asyncio.Semaphore(CONNECTING_AT_ONCE)
        numbers = range(self._given.first, self._given.first + self._given.pairs)
        self.pairs = await asyncio.gather(*(self._pair(number, gate) for number in numbers))
        return time.monotonic() - began_s

    async def _pair(self, number: int, gate: asyncio.Semaphore) -> tuple[Socket, Widget]:
        async with gate:
            widget, charger = await self._widget(number), await self._charger(number)
            await asyncio.gather(widget.open, charger.open)
            return charger, widget

    async def _widget(self, number: int) -> Widget:
        loop, path = asyncio.get_running_loop(), f"/widgets/w{number}"
        _, made = await loop.create_connection(
            lambda: Widget(path, self.closed, self.delays_s), "127.0.0.1", self._given.widget_port
        )
        return made

    async def _charger(self, number: int) -> Socket:
        loop, path = asyncio.get_running_loop(), f"/chargers/c{number}"
        _, made = await loop.create_connection(lambda: Socket(path, self.closed), "127.0.0.1", self._given.charger_port)
        return made

    async def storm(self) -> dict[str, float]:
        """Wait until the server is gone, and reconnect all clients at once; sum up."""
        await self.pairs[0][0].disconnected.wait()
        began_s = time.monotonic()
        numbers = range(self._given.first, self._given.first + self._given.pairs)
        makers = [make for number in numbers for make in (lambda n=number: self._charger(n), lambda n=number: self._widget(n))]
        failed = sum(await asyncio.gather(*(self._until_open(make) for make in makers)))
        return {"took_s": time.monotonic() - began_s, "failed": failed}

    async def _until_open(self, make: Callable[[], Awaitable[Socket]]) -> int:
        """Connect until it works; return how often the handshake itself failed."""
        failed = 0
        while True:
            try:
                await (await make()).open
            except ConnectionRefusedError:
                await asyncio.sleep(0.2)  # nothing listens yet
            except OSError:
                failed += 1
                await asyncio.sleep(0.2)
            else:
                return failed

    async def send(self, rounds: int) -> None:
        """Let each charger send once per period, all evenly spread over it."""
        loop, period_s = asyncio.get_running_loop(), self._given.period_s
        began_s = loop.time()
        for turn in range(rounds):
            frame = json.dumps({"event": "StateOfCharge", "data": {"soc": SOCS[turn % 2]}}).encode()
            for index, (charger, widget) in enumerate(self.pairs):
                due_s = began_s + period_s * (turn + index / len(self.pairs))
                if due_s > loop.time():
                    await asyncio.sleep(due_s - loop.time())
                widget.awaited.append((time.monotonic(), STATUSES[turn % 2]))
                charger.send(frame)
                self.sent += 1

    async def drain(self, timeout_s: float) -> int:
        """Wait until every widget has received all its statuses; return how many are missing."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s and self._owed():
            await asyncio.sleep(0.1)
        return self._owed()

    def _owed(self) -> int:
        return sum(len(widget.awaited) for _, widget in self.pairs)


async def run(given: argparse.Namespace) -> None:
    """Connect, and serve the commands on standard input."""
    crowd = Crowd(given)
    print(f"connected {await crowd.connect():.2f}", flush=True)
    while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        answer = await crowd.storm() if line == "storm\n" else await _send(crowd, given.rounds)
        print(json.dumps(answer), flush=True)


async def _send(crowd: Crowd, rounds: int) -> dict[str, object]:
    await crowd.send(rounds)
    owed = await crowd.drain(20.0)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "sent": crowd.sent,
        "owed": owed,
        "unexpected": sum(len(widget.unexpected) for _, widget in crowd.pairs),
        "closed": dict(crowd.closed),
        "busy_s": usage.ru_utime + usage.ru_stime,
        "delays_s": [round(each, 5) for each in crowd.delays_s],
    }


def main() -> None:
    """Be a crowd."""
    parser = argparse.ArgumentParser()
    for name, kind in (("first", int), ("pairs", int), ("rounds", int), ("period-s", float)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    for name in ("charger-port", "widget-port"):
        parser.add_argument(f"--{name}", type=int, required=True)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
