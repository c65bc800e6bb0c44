"""One client's websocket: connects, carries frames both ways, and connects again when it is lost, for ever."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from sim.chargers.crowd import Crowd
from sim.chargers.reasons import is_unknown

OPEN_TIMEOUT_S, CLOSE_TIMEOUT_S = 10.0, 1.0
PING_INTERVAL_S, PING_TIMEOUT_S = 60.0, 30.0
"""Rare: the adapter is who looks after its links. These find one that is frozen."""
LARGEST_FRAME_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Pace:
    """When to connect again, wall seconds: first, at most, and where the id was not known."""

    first_s: float = 0.5
    longest_s: float = 30.0
    unknown_s: float = 30.0


class Link:
    """The websocket of one client.

    Args:
        name: id of the client.
        crowd: the clients to which it belongs.
        on_open: called when it has connected; it may send.
        on_frame: called with each frame that came.
        pace: when to connect again.
    """

    __slots__ = ("_connection", "_crowd", "_name", "_on_frame", "_on_open", "_pace", "_sending")

    def __init__(
        self, name: str, crowd: Crowd, on_open: Callable[[], None], on_frame: Callable[[bytes], None], pace: Pace
    ) -> None:
        self._name, self._crowd, self._pace = name, crowd, pace
        self._on_open, self._on_frame = on_open, on_frame
        self._connection: ClientConnection | None = None
        self._sending: asyncio.Task[None] | None = None

    @property
    def sending(self) -> bool:
        """Whether frames are not sent yet: the server does not read."""
        return self._sending is not None and not self._sending.done()

    def send(self, frames: Sequence[str | None]) -> None:
        """Send frames, or drop them where the client is not connected, or those before are not sent yet; None closes."""
        if self._connection is not None and not self.sending:
            self._sending = asyncio.create_task(_write(self._connection, frames))

    async def run(self) -> None:
        """Keep the client connected until cancelled."""
        backoff_s = self._pace.first_s
        while True:
            try:
                async with self._crowd.gate:
                    connection = await open_link(self._crowd.url(self._name))
            except (OSError, WebSocketException, ValueError) as error:  # ValueError: a redirect to what is no URL
                self._crowd.on_refused(self._name, error, OPEN_TIMEOUT_S)
                if is_unknown(error):
                    await asyncio.sleep(self._pace.unknown_s * random.uniform(0.9, 1.1))
                    continue
            else:
                if await self._carry(connection) > self._pace.longest_s:
                    backoff_s = self._pace.first_s
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))
            backoff_s = min(2 * backoff_s, self._pace.longest_s)

    async def _carry(self, connection: ClientConnection) -> float:
        """Carry frames until the connection ends; return for how many seconds that was."""
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        self._connection = connection
        self._crowd.on_open()
        self._on_open()
        try:
            while True:
                self._on_frame(await connection.recv(decode=False))  # a text that is not UTF-8 ends nothing
        except ConnectionClosed as error:
            self._crowd.on_lost(self._name, error)
        finally:
            self._connection = None
            await close_link(connection)
        return loop.time() - begun_s


async def open_link(url: str) -> ClientConnection:
    """Connect a client.

    Raises:
        OSError: nobody answers, or not in time.
        WebSocketException: the server refuses, or is no websocket server.
        ValueError: it redirects to what is no URL.
    """
    return await connect(
        url,
        proxy=None,
        compression=None,
        open_timeout=OPEN_TIMEOUT_S,
        ping_interval=PING_INTERVAL_S,
        ping_timeout=PING_TIMEOUT_S,
        close_timeout=CLOSE_TIMEOUT_S,
        max_size=LARGEST_FRAME_BYTES,
    )


async def close_link(connection: ClientConnection) -> None:
    """Close cleanly where the server plays along: `close` itself waits for ever when the server does not read."""
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * CLOSE_TIMEOUT_S):
                await connection.close()
    finally:
        connection.transport.abort()


async def _write(connection: ClientConnection, frames: Sequence[str | None]) -> None:
    with suppress(ConnectionClosed):  # the reader knows
        for frame in frames:
            if frame is None:
                await connection.close(1001, "simulated fault")
            else:
                await connection.send(frame)
