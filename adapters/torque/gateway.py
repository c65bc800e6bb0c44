"""One driver's websocket: connects, carries messages both ways, and connects again when it is lost, for ever.

Which command an event belongs to: the controller puts correlation data on each command, and the gateway puts on each event
those of the command that it wrote last. A command counts as written when `send` has returned, and commands are written one
after the other, in the order in which they came; `send` does not wait unless the driver has stopped to read (its write buffer
holds 32 KiB), so nothing is read in between. What was read before carries the data of an earlier command. What the driver
sent while the command was on its way to it cannot be told from an answer here: `configuredValue` may tell. What is remembered
survives reconnects, and not a restart of the adapter: until it has written a command, events carry none.

A command never waits for a connection: what comes while the driver is away, or is still unsent when the connection ends, is
dropped. The controller hears on `torque/{driver}/link` that the driver is back, and sends what counts by then.
"""

import asyncio
import logging
import random
from contextlib import suppress

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from adapters.torque.drivers import Driver, without_credentials
from adapters.torque.reasons import why_lost, why_unreachable
from broker.contract.fastening.topics import LINK, TORQUE_EVENT, Link
from broker.errors import Rejected
from broker.message import Message, Publication
from broker.runtime.component import Bus

log = logging.getLogger(__name__)

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.2, 5.0
OPEN_TIMEOUT_S = 5.0
PING_INTERVAL_S, PING_TIMEOUT_S, CLOSE_TIMEOUT_S = 4.0, 4.0, 1.0
"""Together under 10 s: a driver that died right after a ping is noticed by then."""
SEND_TIMEOUT_S = 5.0
LARGEST_FRAME_BYTES = 1024 * 1024
MOST_WAITING = 100
"""Commands that wait to be written, at most. A driver that reads leaves none waiting."""
STOPPED = "the adapter was stopped"


class Gateway:
    """The websocket of one driver."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._topic = TORQUE_EVENT.template.topic(driver=driver.name)
        self._commands: asyncio.Queue[Message] | None = None
        """None while the driver is not connected."""
        self._written: bytes | None = None
        """Correlation data of the command that was written last."""
        self._link: Link | None = None

    def send(self, command: Message) -> None:
        """Queue a command for the driver, or drop it when the driver is not connected.

        Raises:
            Rejected: too many wait already: the driver does not read.
        """
        if self._commands is None:
            log.warning("%s is not connected: dropped the command %.200r", self._driver.name, command.payload)
            return
        try:
            self._commands.put_nowait(command)
        except asyncio.QueueFull:
            raise Rejected(f"{MOST_WAITING} commands wait already: {self._driver.name} does not read") from None

    async def run(self, bus: Bus) -> None:
        """Keep the driver connected until cancelled."""
        backoff_s = FIRST_BACKOFF_S
        try:
            while True:
                if await self._connect(bus) > LONGEST_BACKOFF_S:
                    backoff_s = FIRST_BACKOFF_S
                await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))
                backoff_s = min(2 * backoff_s, LONGEST_BACKOFF_S)
        finally:
            self._tell(bus, STOPPED)

    async def _connect(self, bus: Bus) -> float:
        """Connect once, and carry messages until the connection ends; return for how long that was, in s."""
        try:
            connection = await _open(self._driver.url)
        except (OSError, WebSocketException, ValueError) as error:  # ValueError: a redirect to what is no URL
            self._tell(bus, why_unreachable(error, OPEN_TIMEOUT_S))
            return 0.0
        loop, reason = asyncio.get_running_loop(), STOPPED
        begun_s = loop.time()
        try:
            reason = await self._carry(connection, bus)
        finally:
            self._drop_waiting()
            self._tell(bus, reason)
            await _close(connection)
        return loop.time() - begun_s

    async def _carry(self, connection: ClientConnection, bus: Bus) -> str:
        """Carry messages both ways; return why that ended.

        The reader goes on to the end, whatever became of the writer: what the driver sent before it went away counts. There is
        no task group here: in Python 3.11 one that fails while it is cancelled swallows the cancellation.
        """
        commands = self._commands = asyncio.Queue(MOST_WAITING)
        self._tell(bus, None)
        writing = asyncio.create_task(self._write(connection, commands))
        writing.add_done_callback(lambda ended: None if ended.cancelled() else connection.transport.abort())
        try:
            reason = await self._read(connection, bus)
            return (writing.result() if writing.done() else None) or reason
        finally:
            writing.cancel()

    async def _read(self, connection: ClientConnection, bus: Bus) -> str:
        """Publish every frame; return why there are no more."""
        while True:
            try:
                frame = await connection.recv(decode=False)  # a text frame that is not UTF-8 is handed on too
            except ConnectionClosed as error:
                return why_lost(error)
            bus.publish(self._event(frame))

    def _event(self, frame: bytes) -> Publication:
        return Publication(
            topic=self._topic,
            payload=frame,
            qos=TORQUE_EVENT.qos,
            plant=TORQUE_EVENT.plant,
            correlation_data=self._written,
        )

    async def _write(self, connection: ClientConnection, commands: asyncio.Queue[Message]) -> str | None:
        """Write every command; return why no more can be written, None where the reader will know."""
        while True:
            command = await commands.get()
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await connection.send(command.payload.decode())
            except TimeoutError:
                return f"the driver took nothing for {SEND_TIMEOUT_S:g} s"
            except ConnectionClosed:
                return None
            self._written = command.correlation_data

    def _drop_waiting(self) -> None:
        commands, self._commands = self._commands, None
        if commands is not None and not commands.empty():
            log.warning("%s is not connected any more: dropped %d commands", self._driver.name, commands.qsize())

    def _tell(self, bus: Bus, error: str | None) -> None:
        """Publish whether the driver is connected (`error` is None then), where that has changed."""
        reason = error and without_credentials(error)  # that of a redirect may show the whole URL
        link = Link(connected=error is None, url=without_credentials(self._driver.url), error=reason)
        if link == self._link:
            return
        self._link = link
        log.info("%s at %s: %s", self._driver.name, link.url, reason or "connected")
        bus.publish(LINK.publication(link, driver=self._driver.name))


async def _open(url: str) -> ClientConnection:
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


async def _close(connection: ClientConnection) -> None:
    """Close cleanly where the driver plays along: `close` itself waits for ever when the driver does not read."""
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * CLOSE_TIMEOUT_S):
                await connection.close()
    finally:
        connection.transport.abort()
