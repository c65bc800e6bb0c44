"""An adapter on free ports, a bus that collects publications, and a client that writes arbitrary bytes."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect

from adapters.chargers.component import ChargerAdapter
from adapters.chargers.ocpp.numbers import TransactionNumbers
from adapters.chargers.ocpp.tags import IdTags
from adapters.listening import Listening
from broker.contract.charging.topics import (
    CHARGE_POINT,
    CHARGER_LINK,
    PAIRS,
    STATUS,
    WIDGET_LINK,
    ClientLink,
    Pairs,
    Status,
    status_event,
)
from broker.contract.components.topics import RejectedMessage
from broker.message import Message, Publication
from broker.stamp import Stamp
from tests.adapters.chargers.wire import head
from tests.real_broker import free_ports

TIMEOUT_S = 10.0
NOWHERE = Path("/proc/numbers")
PAIR = {"c1234": "wABCD"}


class FakeBus:
    """Collects publications, and delivers every link to all adapters in one order, as the broker does."""

    def __init__(self) -> None:
        self.published: list[Publication] = []
        self.adapters: list[ChargerAdapter] = []
        self._news = asyncio.Event()

    def publish(self, publication: Publication) -> None:
        self.published.append(publication)
        self._news.set()
        if any(each.parse(publication.topic) for each in (CHARGER_LINK, WIDGET_LINK, CHARGE_POINT)):
            asyncio.get_running_loop().call_soon(self._echo, publication)

    def _echo(self, publication: Publication) -> None:
        for adapter in self.adapters:
            stamp = Stamp(source="charger-adapter")
            adapter.on_message(Message(topic=publication.topic, payload=publication.payload, stamp=stamp), 0.0)

    async def deliver(self, publication: Publication, timeout_s: float) -> None:
        self.publish(publication)

    async def ping(self, timeout_s: float) -> None:
        return

    def now_s(self) -> float:
        return 0.0

    def on(self, topic: str) -> list[Publication]:
        return [each for each in self.published if each.topic == topic]

    def socs(self, charger: str = "c1234") -> list[bytes]:
        return [each.payload for each in self.on(f"chargers/{charger}/soc")]

    def links(self, client: str = "chargers/c1234") -> list[ClientLink]:
        return [msgspec.json.decode(each.payload, type=ClientLink) for each in self.on(f"{client}/link")]

    def linked(self, client: str = "chargers/c1234") -> bool:
        return [each.connected for each in self.links(client)][-1:] == [True]

    def rejected(self) -> list[RejectedMessage]:
        return [
            msgspec.json.decode(each.payload, type=RejectedMessage)
            for each in self.published
            if each.topic.startswith("rejected/")
        ]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():
                self._news.clear()
                await self._news.wait()


class Running:
    """An adapter whose `serve` runs, and the errors of its event loop."""

    def __init__(
        self,
        pairs: dict[str, str] | None = PAIR,
        *,
        room: int = 1_000,
        name: str = "charger-adapter",
        beside: "Running | None" = None,
        numbers: TransactionNumbers | None = None,
    ) -> None:
        self.bus: FakeBus = beside.bus if beside else FakeBus()
        self.ports: list[int] = beside.ports if beside else free_ports(2)
        charger_port, widget_port = self.ports
        self.adapter = ChargerAdapter(
            name,
            f"boot-of-{name}",
            Listening(("127.0.0.1",), charger_port, "SCAUP_CHARGER_PORT", "charger", shared=True),
            Listening(("127.0.0.1",), widget_port, "SCAUP_WIDGET_PORT", "widget", shared=True),
            room,
            numbers or TransactionNumbers(NOWHERE, 0, datetime.now(UTC)),
            IdTags(None),
        )
        self.bus.adapters.append(self.adapter)
        self.working, self.errors = list[bool](), list[dict[str, Any]]()
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: self.errors.append(context))
        self.task = asyncio.create_task(self.adapter.serve(self.bus, self.working.append))
        if pairs is not None:
            self.pair(pairs)

    def pair(self, pairs: dict[str, str]) -> None:
        self.hear(PAIRS.publication(Pairs(pairs)))

    def status(self, widget: str, status: Status | None) -> None:
        publication = STATUS.publication(status_event(status or Status.CHARGED), id=widget)
        self.hear(publication if status else Publication(topic=publication.topic, payload=b""))

    def hear(self, publication: Publication) -> None:
        assert self.adapter.on_message(Message(topic=publication.topic, payload=publication.payload), 0.0) == []

    def url(self, client: str) -> str:
        return f"ws://127.0.0.1:{self.port(client)}/{client}"

    def port(self, client: str) -> int:
        return self.ports[client.startswith("widgets")]

    def connect(self, client: str = "chargers/c1234", **options: Any) -> connect:
        """A client of the library `websockets`."""
        return connect(self.url(client), open_timeout=TIMEOUT_S, close_timeout=TIMEOUT_S, max_size=None, **options)

    async def raw(self, client: str = "chargers/c1234", *, more: bytes = b"", receive_buffer: int | None = None) -> "Raw":
        """A raw client that has written a handshake and `more` at once."""
        raw = await self.plain(client, receive_buffer=receive_buffer)
        raw.write(head(f"/{client}") + more)
        return raw

    async def opened(self, client: str = "chargers/c1234") -> "Raw":
        """A raw client whose handshake is complete."""
        raw = await self.raw(client)
        assert b" 101 " in await raw.head()
        return raw

    async def plain(self, client: str = "chargers/c1234", *, receive_buffer: int | None = None) -> "Raw":
        """A raw client that has sent nothing."""
        opened = socket.socket()
        if receive_buffer is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        opened.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(opened, ("127.0.0.1", self.port(client)))
        except OSError:
            opened.close()
            raise
        return Raw(*await asyncio.open_connection(sock=opened))

    async def stop(self) -> None:
        self.task.cancel()
        async with asyncio.timeout(TIMEOUT_S):
            with suppress(asyncio.CancelledError):
                await self.task


class Raw:
    """A raw TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def drain(self) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            await self.writer.drain()

    async def head(self) -> bytes:
        """The head of the answer to the handshake."""
        async with asyncio.timeout(TIMEOUT_S):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def exactly(self, count: int) -> bytes:
        async with asyncio.timeout(TIMEOUT_S):
            return await self._reader.readexactly(count)

    async def rest(self) -> bytes:
        """All bytes until the connection is closed or reset."""
        data = b""
        async with asyncio.timeout(TIMEOUT_S):
            with suppress(ConnectionError):
                while part := await self._reader.read(65_536):
                    data += part
        return data

    async def close(self) -> None:
        self.writer.close()
        async with asyncio.timeout(TIMEOUT_S):
            with suppress(ConnectionError):
                await self.writer.wait_closed()

    def power_loss(self) -> None:
        """Stop reading: as close to a dead client, without FIN or answers, as a test can come."""
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]


@asynccontextmanager
async def running(
    pairs: dict[str, str] | None = PAIR, *, room: int = 1_000, beside: Running | None = None, name: str = "charger-adapter"
) -> AsyncIterator[Running]:
    """An adapter; it is stopped at the end, and its loop must have had no error."""
    started = Running(pairs, room=room, beside=beside, name=name)
    try:
        if pairs is not None:
            await until(lambda: started.working or started.task.done())
        yield started
    finally:
        await started.stop()
    assert started.errors == []


async def until(condition: Callable[[], object]) -> None:
    """Poll until a condition holds."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.005)


async def closed(connection: ClientConnection) -> tuple[int | None, str | None]:
    """Wait until the server has closed a connection: its code and reason."""
    async with asyncio.timeout(TIMEOUT_S):
        await connection.wait_closed()
    return connection.close_code, connection.close_reason


async def next_status(connection: ClientConnection) -> str:
    """The next status that a widget receives."""
    async with asyncio.timeout(TIMEOUT_S):
        return str(msgspec.json.decode(await connection.recv())["data"]["status"])
