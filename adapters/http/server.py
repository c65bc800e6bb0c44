"""An HTTP server inside the runtime's event loop: it listens, and when it is cancelled it finishes what runs."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Generator

import uvicorn
from starlette.types import ASGIApp

from adapters.http.protocol import JsonProtocol
from adapters.listening import BACKLOG, Listening, listen

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 30
STOP_TIMEOUT_S = 2
"""How long a stop waits for requests that run."""
LAST_WORDS_S = 0.5
"""How long those that still run then have to say so."""


class HttpServer:
    """Serves one ASGI application on every address of `listening`."""

    def __init__(self, app: ASGIApp, listening: Listening) -> None:
        self._listening = listening
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                app,
                http=JsonProtocol,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level=logging.ERROR,  # its warnings are about what clients do, and nobody may fill our log
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=STOP_TIMEOUT_S,
            )
        )

    async def serve(self, working: Callable[[bool], None]) -> None:
        """Serve until cancelled; then accept nothing more, finish what runs, for 2 s at most, and close.

        Args:
            working: is told True once every address is listened on.

        Raises:
            CannotStart: the port cannot be listened on; the text says why and what to do.
        """
        sockets = listen(self._listening)
        serving = asyncio.create_task(self._uvicorn.serve(sockets), name="http")
        try:
            await self._uvicorn.ready.wait()
            if self._uvicorn.started:
                log.info("listening on %s, port %d", ", ".join(self._listening.addresses), self._listening.port)
                working(True)
            await asyncio.wait({serving})
        finally:
            self._uvicorn.should_exit = True
            await serving
            await self._hang_up()

    async def _hang_up(self) -> None:
        """Close the connections of requests that were given up, after their last words."""
        state = self._uvicorn.server_state
        if state.tasks:
            await asyncio.wait(set(state.tasks), timeout=LAST_WORDS_S)
        for each in list(state.connections):
            each.transport.close()


class _Uvicorn(uvicorn.Server):
    """Uvicorn without its signal handlers: the runtime has its own."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.ready.set()
