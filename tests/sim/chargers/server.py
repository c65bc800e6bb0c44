"""A websocket server for chargers and widgets, written for these tests only."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

TIMEOUT_S = 20.0


@dataclass
class OneServer:
    """A websocket server on one port; `known` are the ids it accepts, None for all."""

    folder: str
    port: int = 0
    known: set[str] | None = None
    frames: dict[str, list[str | bytes]] = field(default_factory=dict)
    open: dict[str, ServerConnection] = field(default_factory=dict)
    closed: list[tuple[str, int | None]] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)
    first: str | None = None
    """Sent to each client as it connects."""
    _server: Server | None = None

    async def start(self) -> None:
        self._server = await serve(self._talk, "127.0.0.1", self.port, process_request=self._check, close_timeout=1)
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await asyncio.wait_for(self._server.wait_closed(), TIMEOUT_S)
            self._server = None

    def _check(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requested.append(request.path)
        empty, folder, client = request.path.split("/")
        if (empty, folder) != ("", self.folder) or (self.known is not None and client not in self.known):
            return connection.respond(HTTPStatus.NOT_FOUND, "unknown\n")
        return None

    async def _talk(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        client = connection.request.path.rpartition("/")[2]
        self.open[client] = connection
        received = self.frames.setdefault(client, [])
        try:
            if self.first is not None:
                await connection.send(self.first)
            while True:
                received.append(await connection.recv())
        except ConnectionClosed:
            self.closed.append((client, connection.close_code))
        finally:
            self.open.pop(client, None)

    def socs(self, client: str) -> list[int]:
        """Return what a charger has sent; every frame must be exact."""
        found = []
        for frame in self.frames.get(client, []):
            assert isinstance(frame, str)
            soc = json.loads(frame)["data"]["soc"]
            assert frame == f'{{"event":"StateOfCharge","data":{{"soc":{soc}}}}}'
            found.append(soc)
        return found


def status(text: str) -> str:
    return f'{{"event":"chargingStatus","data":{{"status":"{text}"}}}}'


@asynccontextmanager
async def serving(folder: str, **options: object) -> AsyncIterator[OneServer]:
    server = OneServer(folder, **options)  # type: ignore[arg-type]
    await server.start()
    try:
        yield server
    finally:
        with contextlib.suppress(TimeoutError):
            await server.stop()


async def until(true: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(timeout_s):
        while not true():
            await asyncio.sleep(0.005)
