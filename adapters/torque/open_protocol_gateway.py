"""The connection of one Open Protocol tool: TCP, the recorder and the bus around a `Session`.

As with a websocket, commands never wait for a connection, and an event carries the correlation data of the command that the
tool accepted last. Before the first connection of a start, the recorder is asked which results it has.
"""

import asyncio
from contextlib import suppress

from adapters.client.errors import ClientError
from adapters.torque.configuration import TorqueDriver
from adapters.torque.gateway import why_unreachable
from adapters.torque.link import STOPPED, Link, connect_again_and_again
from adapters.torque.open_protocol.address import OpenProtocolTool
from adapters.torque.open_protocol.ledger import Ledger
from adapters.torque.open_protocol.session import Action, Lost, Publish, Ready, Send, Session
from adapters.torque.recording import Recording, read_history
from broker.contract.fastening.topics import COMMAND, TORQUE_EVENT
from broker.log import Log
from broker.message import Message, Publication
from broker.runtime.component import Bus

log = Log(__name__)

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.2, 5.0
OPEN_TIMEOUT_S = 5.0
TICK_S = 1.0
CLOSE_TIMEOUT_S = 1.0
NOTICE_S = 2.0
FIRST_PATIENCE_S, LONGEST_PATIENCE_S = 5.0, 80.0
"""Time for the recorder to answer, doubled each time: it may have a lot to search."""
WAITING = "waiting for the recorder, which knows the results that it has: is it running?"
READ_BYTES = 65_536


class OpenProtocolGateway:
    """The connection of one tool.

    Args:
        driver: its name and address.
        tool: its address, read.
        source: name of this component, which publishes its events.
        recording: the recorder.
    """

    def __init__(self, driver: TorqueDriver, tool: OpenProtocolTool, source: str, recording: Recording) -> None:
        self._driver, self._tool, self._source, self._recording = driver, tool, source, recording
        self._topic = TORQUE_EVENT.template.topic(driver=driver.name)
        self._link = Link(driver)
        self._ledger: Ledger | None = None
        self._bus: Bus | None = None
        self._session: Session | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._ready = False
        self._lost: str | None = None
        self._waiting: asyncio.TimerHandle | None = None
        self._patience_s = FIRST_PATIENCE_S
        self._watching: set[asyncio.Task[None]] = set()

    def send(self, command: Message) -> None:
        """Give the tool a command, or drop it when the tool is not connected."""
        if self._session is None or not self._ready:
            log.warning(
                "command-dropped",
                "%(driver)s is not connected: dropped the command %(command).200r",
                driver=self._driver.name,
                command=command.payload,
            )
            return
        self._do(self._session.command(COMMAND.decode(command), command.correlation_data, _now_s()))

    async def run(self, bus: Bus) -> None:
        """Keep the tool connected until cancelled."""
        self._bus = bus
        try:
            await connect_again_and_again(lambda: self._connect(bus), FIRST_BACKOFF_S, LONGEST_BACKOFF_S)
        finally:
            if self._waiting is not None:
                self._waiting.cancel()
            for each in self._watching:
                each.cancel()
            self._link.report(bus, STOPPED)

    async def _connect(self, bus: Bus) -> float:
        """Connect once, and stay until the connection ends; return how long it lasted, in s."""
        try:
            ledger = self._ledger = self._ledger or await self._history(bus)
        except ClientError as error:
            log.info("recorder-wait", "%(driver)s waits for the recorder: %(error)s", driver=self._driver.name, error=error)
            return 0.0
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(self._tool.host, self._tool.port)
        except TimeoutError:
            self._link.report(bus, f"no answer within {OPEN_TIMEOUT_S:g} s")
            return 0.0
        except (OSError, UnicodeError) as error:  # UnicodeError: a host that cannot be a name
            self._link.report(bus, why_unreachable(error, OPEN_TIMEOUT_S))
            return 0.0
        begun_s, reason = _now_s(), STOPPED
        session, self._lost = Session(self._tool, ledger), None
        self._session, self._writer = session, writer
        try:
            reason = await self._carry(session, reader)
        finally:
            stop = session.stop() if self._ready else b""
            self._session, self._writer, self._ready = None, None, False
            self._link.report(bus, reason)
            await _close(writer, stop if reason == STOPPED else b"")
        return _now_s() - begun_s

    async def _history(self, bus: Bus) -> Ledger:
        """Ask the recorder; the link says so where that takes long."""
        loop = asyncio.get_running_loop()
        self._waiting = self._waiting or loop.call_later(NOTICE_S, self._link.report, bus, WAITING)
        await self._recording.online.wait()
        timeout_s, self._patience_s = self._patience_s, min(2 * self._patience_s, LONGEST_PATIENCE_S)
        ledger = await read_history(self._recording.recorder, bus, self._source, self._topic, timeout_s)
        self._waiting.cancel()
        return ledger

    async def _carry(self, session: Session, reader: asyncio.StreamReader) -> str:
        """Exchange bytes until the connection ends; return why it did."""
        self._do(session.begin(_now_s()))
        while self._lost is None:
            try:
                async with asyncio.timeout(TICK_S):
                    data = await reader.read(READ_BYTES)
            except TimeoutError:
                self._do(session.tick(_now_s()))
                continue
            except OSError as error:
                return f"connection lost ({error.strerror or error})"
            if not data:
                return "closed by the tool"
            self._do([*session.receive(data, _now_s()), *session.tick(_now_s())])
        return self._lost

    def _do(self, actions: list[Action]) -> None:
        for each in actions:
            if isinstance(each, Send):
                if self._writer is not None:
                    self._writer.write(each.data)
            elif isinstance(each, Publish):
                self._publish(each)
            elif isinstance(each, Ready):
                self._ready = True
                if self._bus is not None:
                    self._link.report(self._bus, None)
            elif isinstance(each, Lost):
                self._lost = each.reason

    def _publish(self, event: Publish) -> None:
        if self._bus is None:
            return
        publication = Publication(
            topic=self._topic,
            payload=event.payload,
            qos=TORQUE_EVENT.qos,
            plant=TORQUE_EVENT.plant,
            correlation_data=event.mark,
        )
        self._bus.publish(publication)
        if event.key is not None:
            task = asyncio.create_task(self._acknowledge(self._bus, publication, event.key), name="acknowledge")
            self._watching.add(task)
            task.add_done_callback(self._watching.discard)

    async def _acknowledge(self, bus: Bus, publication: Publication, key: str) -> None:
        """Acknowledge a result once its event is committed, to whatever connection there is by then."""
        await self._recording.watch.committed(bus, publication)
        if self._session is not None:
            self._do(self._session.recorded(key, _now_s()))
        elif self._ledger is not None:
            self._ledger.note_recorded(key)


async def _close(writer: asyncio.StreamWriter, last: bytes) -> None:
    """Close, after `last` if the tool reads it."""
    try:
        with suppress(OSError, TimeoutError):
            if last:
                writer.write(last)
            writer.close()
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await writer.wait_closed()
    finally:
        writer.transport.abort()


def _now_s() -> float:
    return asyncio.get_running_loop().time()
