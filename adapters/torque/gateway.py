"""One driver's websocket: connects, carries messages both ways, and reconnects whenever the connection is lost.

Correlation of events with commands: the controller puts correlation data on each command, and the gateway puts on each event
the data of the command that it wrote last. A command counts as written when `send` has returned. Commands are written one after
the other, in the order of their arrival; `send` does not wait unless the driver has stopped reading (the write buffer holds
32 KiB), so no event is read in between. Events read before carry the data of an earlier command. Events that the driver sent
while the command was on its way cannot be distinguished from answers here; their `configuredValue` may show it. The last
correlation data survives reconnects, but not a restart of the adapter: until a command is written, events carry none.

Commands never wait for a connection: a command that arrives while the driver is disconnected, or is unsent when the connection
ends, is dropped. The controller receives `torque/{driver}/link` when the driver is back, and sends what is current by then.
"""

import asyncio
import os
import re
import socket
import ssl
from contextlib import suppress

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException
from websockets.frames import CloseCode

from adapters.torque.configuration import TorqueDriver
from adapters.torque.link import STOPPED, Link, connect_again_and_again
from broker.contract.fastening.topics import TORQUE_EVENT
from broker.errors import Rejected
from broker.log import Log
from broker.message import Message, Publication
from broker.runtime.component import Bus

log = Log(__name__)

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.2, 5.0
OPEN_TIMEOUT_S = 5.0
PING_INTERVAL_S, PING_TIMEOUT_S, CLOSE_TIMEOUT_S = 4.0, 4.0, 1.0
"""Together under 10 s, the longest time until a dead driver is noticed."""
SEND_TIMEOUT_S = 5.0
LARGEST_FRAME_BYTES = 1024 * 1024
MOST_WAITING = 100
"""Commands that wait to be written, at most. None wait while the driver reads."""
_ERRNO = re.compile(r"\[Errno (\d+)\]")


class Gateway:
    """The websocket of one driver."""

    def __init__(self, driver: TorqueDriver) -> None:
        self._driver = driver
        self._topic = TORQUE_EVENT.template.topic(driver=driver.name)
        self._commands: asyncio.Queue[Message] | None = None
        """None while the driver is not connected."""
        self._written: bytes | None = None
        """Correlation data of the command that was written last."""
        self._link = Link(driver)

    def send(self, command: Message) -> None:
        """Queue a command for the driver, or drop it when the driver is not connected.

        Raises:
            Rejected: too many commands are waiting: the driver does not read.
        """
        if self._commands is None:
            log.warning(
                "command-dropped",
                "%(driver)s is not connected: dropped the command %(command).200r",
                driver=self._driver.name,
                command=command.payload,
            )
            return
        try:
            self._commands.put_nowait(command)
        except asyncio.QueueFull:
            raise Rejected(f"{MOST_WAITING} commands are waiting already: {self._driver.name} does not read") from None

    async def run(self, bus: Bus) -> None:
        """Keep the driver connected until cancelled."""
        try:
            await connect_again_and_again(lambda: self._connect(bus), FIRST_BACKOFF_S, LONGEST_BACKOFF_S)
        finally:
            self._link.report(bus, STOPPED)

    async def _connect(self, bus: Bus) -> float:
        """Connect once, and carry messages until the connection ends; return how long it lasted, in s."""
        try:
            connection = await _open(self._driver.url)
        except (OSError, WebSocketException, ValueError) as error:  # ValueError: a redirect to an invalid URL
            self._link.report(bus, why_unreachable(error, OPEN_TIMEOUT_S))
            return 0.0
        loop, reason = asyncio.get_running_loop(), STOPPED
        begun_s = loop.time()
        try:
            reason = await self._carry(connection, bus)
        finally:
            self._drop_waiting()
            self._link.report(bus, reason)
            await _close(connection)
        return loop.time() - begun_s

    async def _carry(self, connection: ClientConnection, bus: Bus) -> str:
        """Carry messages both ways; return the reason why the connection ended.

        The reader reads to the end even if the writer has failed: events that the driver sent before it disconnected count.
        There is no task group here: in Python 3.11, one that fails while it is cancelled swallows the cancellation.
        """
        commands = self._commands = asyncio.Queue(MOST_WAITING)
        self._link.report(bus, None)
        writing = asyncio.create_task(self._write(connection, commands))
        writing.add_done_callback(lambda ended: None if ended.cancelled() else connection.transport.abort())
        try:
            reason = await self._read(connection, bus)
            return (writing.result() if writing.done() else None) or reason
        finally:
            writing.cancel()

    async def _read(self, connection: ClientConnection, bus: Bus) -> str:
        """Publish every frame; return the reason why the connection ended."""
        while True:
            try:
                frame = await connection.recv(decode=False)  # also passes on text that is not UTF-8
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
        """Write every command; return the reason why writing ended, None where the reader returns it."""
        while True:
            command = await commands.get()
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await connection.send(command.payload.decode())
            except TimeoutError:
                return f"the driver did not read for {SEND_TIMEOUT_S:g} s"
            except ConnectionClosed:
                return None
            self._written = command.correlation_data

    def _drop_waiting(self) -> None:
        commands, self._commands = self._commands, None
        if commands is not None and not commands.empty():
            log.warning(
                "commands-dropped",
                "%(driver)s has disconnected: dropped %(count)d commands",
                driver=self._driver.name,
                count=commands.qsize(),
            )


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
    """Close cleanly if the driver cooperates; `close` alone waits for ever if the driver does not read."""
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * CLOSE_TIMEOUT_S):
                await connection.close()
    finally:
        connection.transport.abort()


def why_unreachable(error: Exception, timeout_s: float) -> str:
    """Return in words why a connection could not be opened.

    Args:
        error: raised by `websockets.asyncio.client.connect`.
        timeout_s: the timeout given to it, in s.
    """
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(error, InvalidStatus):
        return f"handshake refused (HTTP {error.response.status_code})"
    if isinstance(error, InvalidHandshake):
        return f"handshake failed ({error})"
    if isinstance(error, socket.gaierror):
        return f"host not found ({error.strerror})"
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return _system_error(error)
    return f"cannot connect ({error})"


def _system_error(error: OSError) -> str:
    """For a host with several addresses, asyncio joins their errors in one text, without `errno`."""
    numbers = dict.fromkeys(int(each) for each in _ERRNO.findall(str(error)))
    return ", ".join(os.strerror(each).lower() for each in numbers) or f"cannot connect ({error})"


def why_lost(error: ConnectionClosed) -> str:
    """Return in words why a connection ended; the codes are those of RFC 6455 section 7.4.1."""
    received, sent = error.rcvd, error.sent
    if received is not None and (sent is None or error.rcvd_then_sent):
        return f"closed by the driver ({received.code}{_because(received.reason)})"
    if sent is None:
        return "connection lost"
    if sent.code == CloseCode.MESSAGE_TOO_BIG:
        return f"the driver sent a frame that is too large ({sent.code}{_because(sent.reason)})"
    if sent.code == CloseCode.INTERNAL_ERROR and "ping" in sent.reason:
        return "the driver does not answer to pings"
    return f"closed by the adapter ({sent.code}{_because(sent.reason)})"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
