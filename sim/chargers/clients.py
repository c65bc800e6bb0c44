"""Websocket clients that stay connected: each reconnects for ever; groups of them log a problem once instead of for each."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, WebSocketException

from broker.log import Log
from sim.chargers.connection import (
    OPEN_TIMEOUT_S,
    Endpoint,
    close_connection,
    is_unknown,
    open_connection,
    refusal_text,
    why_lost,
    why_unreachable,
)

log = Log(__name__)

MOST_CONNECTING = 64
"""Clients that connect at the same time: more would only run into the time limit."""


class ClientGroup:
    """The clients of one role. A problem is logged once until all are connected again.

    Attributes:
        gate: held while connecting.
    """

    def __init__(self, endpoint: Endpoint, clients: int) -> None:
        self._endpoint, self._clients = endpoint, clients
        self._connected = 0
        self._logged: set[str] = set()
        self.gate = asyncio.Semaphore(MOST_CONNECTING)

    def url(self, name: str) -> str:
        """Return the URL of one client."""
        return self._endpoint.url(name)

    def on_open(self) -> None:
        """Count a client that has connected."""
        self._connected += 1
        if self._connected == self._clients:
            self._logged.clear()
            log.info("clients-connected", "connected: %(clients)s", clients=self._all())

    def on_lost(self, name: str, error: ConnectionClosed) -> None:
        """Count a client whose connection has ended."""
        self._connected -= 1
        self._warn("lost", f"{name}: {why_lost(error)}; reconnecting")

    def on_refused(self, name: str, error: Exception, timeout_s: float) -> None:
        """Note that a client could not connect."""
        if is_unknown(error):
            self._warn("unknown", f"{self.url(name)}: HTTP 404, {name} is in no pair: {self._fix()}; trying on")
        else:
            reason = why_unreachable(error, timeout_s)
            question = "" if isinstance(error, WebSocketException) else " (is the charger adapter running?)"
            self._warn(reason, f"{self.url(name)}: {reason}{refusal_text(error)}{question}; trying on for {self._all()}")

    def _fix(self) -> str:
        printing = f"scaup run sim-chargers --chargers {self._clients} --print-pairs"
        return f"add the pairs that `{printing}` prints to the file SCAUP_CHARGER_PAIRS"

    def _all(self) -> str:
        return f"{self._clients} {self._endpoint.role.name}{'s' if self._clients > 1 else ''}"

    def _warn(self, problem: str, text: str) -> None:
        if problem not in self._logged:
            self._logged.add(problem)
            log.warning("client-failed", "%(error)s", error=text)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays before reconnecting, wall seconds: the first, the longest, and the one after a refused id."""

    first_s: float = 0.5
    longest_s: float = 30.0
    unknown_s: float = 30.0


class Client:
    """One websocket client: it carries frames both ways, and reconnects whenever the connection is lost.

    Args:
        name: id of the client.
        group: the clients to which it belongs.
        on_open: called when it has connected; it may send.
        on_frame: called with each frame that arrives.
        backoff: delays before reconnecting.
    """

    __slots__ = ("_backoff", "_connection", "_group", "_name", "_on_frame", "_on_open", "_sending")

    def __init__(
        self,
        name: str,
        group: ClientGroup,
        on_open: Callable[[], None],
        on_frame: Callable[[bytes], None],
        backoff: Backoff,
    ) -> None:
        self._name, self._group, self._backoff = name, group, backoff
        self._on_open, self._on_frame = on_open, on_frame
        self._connection: ClientConnection | None = None
        self._sending: asyncio.Task[None] | None = None

    @property
    def sending(self) -> bool:
        """Whether frames are not sent yet: the server does not read."""
        return self._sending is not None and not self._sending.done()

    def send(self, frames: Sequence[str | None]) -> None:
        """Send frames; drop them where the client is not connected or earlier ones are not sent yet. None closes."""
        if self._connection is not None and not self.sending:
            self._sending = asyncio.create_task(_write(self._connection, frames))

    async def run(self) -> None:
        """Keep the client connected until cancelled."""
        delay_s = self._backoff.first_s
        while True:
            try:
                async with self._group.gate:
                    connection = await open_connection(self._group.url(self._name))
            except (OSError, WebSocketException, ValueError) as error:  # ValueError: redirected to something that is no URL
                self._group.on_refused(self._name, error, OPEN_TIMEOUT_S)
                if is_unknown(error):
                    await asyncio.sleep(self._backoff.unknown_s * random.uniform(0.9, 1.1))
                    continue
            else:
                if await self._carry(connection) > self._backoff.longest_s:
                    delay_s = self._backoff.first_s
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
            delay_s = min(2 * delay_s, self._backoff.longest_s)

    async def _carry(self, connection: ClientConnection) -> float:
        """Carry frames until the connection ends; return how many seconds it lasted."""
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        self._connection = connection
        self._group.on_open()
        self._on_open()
        try:
            while True:
                self._on_frame(await connection.recv(decode=False))  # a text that is not UTF-8 does not end the connection
        except ConnectionClosed as error:
            self._group.on_lost(self._name, error)
        finally:
            self._connection = None
            await close_connection(connection)
        return loop.time() - begun_s


async def _write(connection: ClientConnection, frames: Sequence[str | None]) -> None:
    with suppress(ConnectionClosed):  # `_carry` notices it
        for frame in frames:
            if frame is None:
                await connection.close(1001, "simulated fault")
            else:
                await connection.send(frame)
