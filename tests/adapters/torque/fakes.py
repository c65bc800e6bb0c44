"""A bus that collects publications, and a driver under the control of the test."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import msgspec
from websockets.asyncio.server import Server, ServerConnection, serve

from adapters.torque.component import TorqueAdapter
from adapters.torque.configuration import TorqueDriver
from broker.contract.fastening.topics import DriverLink
from broker.message import Message, Publication

TIMEOUT_S = 10.0
RESET = b'{"type":"reset"}'


class FakeBus:
    """Collects publications; `until` waits for them."""

    def __init__(self) -> None:
        self.published: list[Publication] = []
        self._news = asyncio.Event()

    def publish(self, publication: Publication) -> None:
        self.published.append(publication)
        self._news.set()

    async def deliver(self, publication: Publication, timeout_s: float) -> None:
        self.publish(publication)

    async def ping(self, timeout_s: float) -> None:
        return

    def now_s(self) -> float:
        return 0.0

    def on(self, topic: str) -> list[Publication]:
        return [each for each in self.published if each.topic == topic]

    def events(self, driver: str = "driver-1") -> list[bytes]:
        return [each.payload for each in self.on(f"torque/{driver}/event")]

    def correlations(self, driver: str = "driver-1") -> list[bytes | None]:
        return [each.correlation_data for each in self.on(f"torque/{driver}/event")]

    def links(self, driver: str = "driver-1") -> list[DriverLink]:
        return [msgspec.json.decode(each.payload, type=DriverLink) for each in self.on(f"torque/{driver}/link")]

    def errors(self, driver: str = "driver-1") -> list[str | None]:
        """The error of each link message, None where the driver is connected."""
        return [each.error for each in self.links(driver)]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():
                self._news.clear()
                await self._news.wait()


class FakeDriver:
    """A websocket server; the test takes each connection from it. It keeps its port over restarts."""

    def __init__(self) -> None:
        self.port = 0
        self._connections: asyncio.Queue[ServerConnection] = asyncio.Queue()
        self._server: Server | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await serve(self._serve, "127.0.0.1", self.port, max_size=None, close_timeout=0.1)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def connected(self) -> ServerConnection:
        """The next connection."""
        return await asyncio.wait_for(self._connections.get(), TIMEOUT_S)

    async def _serve(self, connection: ServerConnection) -> None:
        self._connections.put_nowait(connection)
        await connection.wait_closed()


@asynccontextmanager
async def driver() -> AsyncIterator[FakeDriver]:
    fake = FakeDriver()
    await fake.start()
    try:
        yield fake
    finally:
        await fake.stop()


class RunningAdapter:
    """An adapter whose `serve` runs on a fake bus."""

    def __init__(self, *drivers: TorqueDriver) -> None:
        self.bus = FakeBus()
        self.adapter = TorqueAdapter(drivers)
        self.working: list[bool] = []
        self._task = asyncio.create_task(self.adapter.serve(self.bus, self.working.append))

    def command(self, payload: bytes = RESET, correlation: bytes | None = None, driver: str = "driver-1") -> None:
        message = Message(topic=f"torque/{driver}/command", payload=payload, correlation_data=correlation)
        assert self.adapter.on_message(message, 0.0) == []

    async def stop(self) -> None:
        self._task.cancel()
        async with asyncio.timeout(TIMEOUT_S):
            with suppress(asyncio.CancelledError):
                await self._task


@asynccontextmanager
async def running(*drivers: TorqueDriver) -> AsyncIterator[RunningAdapter]:
    started = RunningAdapter(*drivers)
    try:
        yield started
    finally:
        await started.stop()


async def received(connection: ServerConnection) -> str | bytes:
    """The next frame that the driver receives."""
    return await asyncio.wait_for(connection.recv(), TIMEOUT_S)
