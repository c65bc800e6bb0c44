"""The torque adapter on the bus: it passes messages on and reconnects, and decides nothing."""

import asyncio
from collections.abc import Callable, Iterable

from adapters.client.aio_recorder import RecorderClient
from adapters.torque.configuration import TorqueDriver
from adapters.torque.declaration import NAME, RECORDED_TOPIC, RECORDER_TOPIC
from adapters.torque.gateway import Gateway
from adapters.torque.open_protocol.address import read_tool
from adapters.torque.open_protocol_gateway import OpenProtocolGateway
from adapters.torque.recording import CommitWatch, Recording
from broker.contract.components.topics import STATE, Presence
from broker.contract.fastening.topics import COMMAND
from broker.errors import Rejected
from broker.message import Message, Publication
from broker.runtime.component import Bus


class TorqueAdapter:
    """A service: one connection for each driver."""

    def __init__(self, drivers: Iterable[TorqueDriver]) -> None:
        self._recorder = RecorderClient(NAME)
        self._recording = asyncio.Event()
        """Set while the recorder is online."""
        self._watch = CommitWatch(self._recorder, NAME, self._recording)
        self._gateways = {each.name: self._gateway(each) for each in drivers}

    def _gateway(self, driver: TorqueDriver) -> Gateway | OpenProtocolGateway:
        if driver.speaks_open_protocol:
            return OpenProtocolGateway(
                driver, read_tool(driver.url), NAME, Recording(self._recorder, self._watch, self._recording)
            )
        return Gateway(driver)

    def on_message(self, message: Message, _now_s: float) -> list[Publication]:
        """Pass a command on to its driver, to a websocket byte for byte; or take an answer or the presence of the recorder.

        Raises:
            Rejected: the topic names no driver of this adapter, the payload is not a command, the message was retained (so it
                may be old), or the driver has stopped reading.
        """
        if message.topic == RECORDED_TOPIC:
            self._recorder.take(message)
            return []
        if message.topic == RECORDER_TOPIC:
            self._take_presence(message)
            return []
        levels = COMMAND.parse(message.topic)
        gateway = self._gateways.get(levels["driver"]) if levels else None
        if gateway is None:
            raise Rejected(f"topic {message.topic!r} names no driver of this adapter: it has {', '.join(self._gateways)}")
        if message.retain:
            raise Rejected("a retained command may be old: publish commands without retain")
        COMMAND.decode(message)
        gateway.send(message)
        return []

    def _take_presence(self, message: Message) -> None:
        if message.payload and STATE.decode(message).state is Presence.ONLINE:
            self._recording.set()
        else:
            self._recording.clear()

    def on_tick(self, _now_s: float) -> list[Publication]:
        """Return nothing: drivers live in wall time."""
        return []

    async def serve(self, bus: Bus, working: Callable[[bool], None]) -> None:
        """Keep every driver connected until cancelled; then close, and publish each as not connected."""
        working(True)
        async with asyncio.TaskGroup() as tasks:
            for gateway in self._gateways.values():
                tasks.create_task(gateway.run(bus))
