"""An HTTP server inside the runtime's event loop: it listens, and when it is cancelled, it finishes the running requests."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Generator

import uvicorn
from starlette.types import ASGIApp

from adapters.http.protocol import MAX_OUTSIDE, REMOTE, JsonProtocol
from adapters.http.watch import BrokerWatch
from adapters.http.websocket_protocol import WebSocketProtocol
from adapters.listening import BACKLOG, Listening, Sockets, listen
from adapters.outside.acceptor import ACCEPTED_AT_ONCE, MOST_UNAUTHENTICATED, AcceptedClient, Acceptor
from broker.log import Log
from broker.runtime.component import Bus

log = Log(__name__)

KEEP_ALIVE_S = 30
STOP_TIMEOUT_S = 2
"""How long a stop waits for running requests."""
LARGEST_FRAME_BYTES = 64 * 1024
"""Of a message that a client sends over a websocket."""
LAST_ANSWERS_S = 0.5
"""How long the remaining requests then have to answer that the server is being stopped."""


class HttpServer:
    """Serves one ASGI application on every address of `listening`, also over websockets where it is asked for."""

    def __init__(self, app: ASGIApp, listening: Listening, websockets: bool = False) -> None:
        self._listening = listening
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                app,
                http=JsonProtocol,
                ws=WebSocketProtocol if websockets else "none",
                ws_max_size=LARGEST_FRAME_BYTES,
                ws_per_message_deflate=websockets,
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level=logging.ERROR,  # its warnings are about clients, who must not be able to fill the log
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=STOP_TIMEOUT_S,
            ),
            listening,
        )

    async def serve(self, working: Callable[[bool], None]) -> None:
        """Serve until cancelled; then accept nothing more, finish running requests for 2 s at most, and close.

        Args:
            working: called with True once the server listens on every address.

        Raises:
            CannotStart: the server cannot listen on the port; the text names the cause and the fix.
        """
        sockets = listen(self._listening)
        serving = asyncio.create_task(self._uvicorn.serve_on(sockets), name="http")
        try:
            await self._uvicorn.ready.wait()
            if self._uvicorn.started:
                log.info("listening", "listening on %(places)s", places=self._listening.places)
                working(True)
            await asyncio.wait({serving})
        finally:
            self._uvicorn.should_exit = True
            await serving
            await self._hang_up()

    async def _hang_up(self) -> None:
        """Close the connections of requests that did not finish, after their last answers."""
        state = self._uvicorn.server_state
        if state.tasks:
            await asyncio.wait(set(state.tasks), timeout=LAST_ANSWERS_S)
        for each in list(state.connections):
            each.transport.close()


async def serve(server: HttpServer, watch: BrokerWatch, bus: Bus, working: Callable[[bool], None]) -> None:
    """Run a server and its watch until cancelled. The server stops first: requests that it finishes still need the watch.

    Raises:
        CannotStart: the server cannot listen on the port.
    """
    tasks = [asyncio.create_task(server.serve(working)), asyncio.create_task(watch.run(bus))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
            await asyncio.wait({task})
    for task in tasks:
        if not task.cancelled():
            task.result()


class _Uvicorn(uvicorn.Server):
    """Uvicorn without its signal handlers: the runtime has its own. An `Acceptor` takes connections beyond this machine."""

    def __init__(self, config: uvicorn.Config, listening: Listening) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        outside = listening.outside
        self._acceptor = Acceptor(self._protocol, outside.context, MAX_OUTSIDE, MOST_UNAUTHENTICATED) if outside else None
        self._outside: list[socket.socket] = []

    async def serve_on(self, sockets: Sockets) -> None:
        """Serve on these sockets until `should_exit`."""
        self._outside = sockets.outside
        await self.serve(sockets.inside)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
            loop = asyncio.get_running_loop()
            for each in self._outside:
                assert self._acceptor is not None
                server = await loop.create_server(self._acceptor.protocol, sock=each, backlog=ACCEPTED_AT_ONCE)
                each.listen(BACKLOG)  # asyncio takes one number for both; accept few at a time and let many wait
                self.servers.append(server)
        finally:
            self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
        await super().shutdown([*(sockets or []), *self._outside])

    def _protocol(self, remote: AcceptedClient | None) -> JsonProtocol:
        return JsonProtocol(self.config, self.server_state, {} if remote is None else {REMOTE: remote})
