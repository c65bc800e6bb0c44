"""The torque adapter on the bus: it passes messages on and reconnects, and decides nothing."""

import asyncio
from collections.abc import Callable, Iterable

from adapters.torque.configuration import TorqueDriver
from adapters.torque.gateway import Gateway
from broker.contract.fastening.topics import COMMAND
from broker.errors import Rejected
from broker.message import Message, Publication
from broker.runtime.component import Bus


class TorqueAdapter:
    """A service: one websocket for each driver."""

    def __init__(self, drivers: Iterable[TorqueDriver]) -> None:
        self._gateways = {each.name: Gateway(each) for each in drivers}

    def on_message(self, message: Message, _now_s: float) -> list[Publication]:
        """Pass a command on to its driver, byte for byte.

        Raises:
            Rejected: the topic names no driver of this adapter, the payload is not a command, the message was retained (so it
                may be old), or the driver has stopped reading.
        """
        levels = COMMAND.parse(message.topic)
        gateway = self._gateways.get(levels["driver"]) if levels else None
        if gateway is None:
            raise Rejected(f"topic {message.topic!r} names no driver of this adapter: it has {', '.join(self._gateways)}")
        if message.retain:
            raise Rejected("a retained command may be old: publish commands without retain")
        COMMAND.decode(message)
        gateway.send(message)
        return []

    def on_tick(self, _now_s: float) -> list[Publication]:
        """Return nothing: drivers live in wall time."""
        return []

    async def serve(self, bus: Bus, working: Callable[[bool], None]) -> None:
        """Keep every driver connected until cancelled; then close, and publish each as not connected."""
        working(True)
        async with asyncio.TaskGroup() as tasks:
            for gateway in self._gateways.values():
                tasks.create_task(gateway.run(bus))
