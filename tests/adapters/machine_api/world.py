"""Messages of machines, and the API on a real socket with a fake bus."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from adapters.listening import Listening
from adapters.machine_api.component import MachineApi
from adapters.machine_api.declaration import PORT
from broker.message import Message
from tests.adapters.http.fakes import FakeBus, running, until
from tests.real_broker import free_ports

READING: dict[str, Any] = {
    "id": 1,
    "name": "DELL G450",
    "description": "Machine for processing ",
    "temperature": 30.21,
    "fan_speed": 811.62,
    "status": "COMPLETED",
    "timestamp": "2024-11-03T13:40:45.015069+00:00",
}
AVERAGE = b'{"average_temperature":20.18,"average_speed":899.64,"status":"IDLE"}'


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def reading(machine: int = 1, **changed: Any) -> Message:
    return raw_reading(compact({**READING, "id": machine, **changed}), str(machine))


def raw_reading(payload: bytes, machine: str = "1") -> Message:
    return Message(topic=f"machines/{machine}/reading", payload=payload)


def average(payload: bytes = AVERAGE, machine: str = "1") -> Message:
    return Message(topic=f"machines/{machine}/average", payload=payload, retain=True)


@asynccontextmanager
async def served() -> AsyncIterator[tuple[int, FakeBus]]:
    """Serve machine 1; gives the port and the bus."""
    (port,) = free_ports(1)
    api, bus, working = MachineApi(Listening(("127.0.0.1",), port, PORT.name)), FakeBus(), list[bool]()
    for each in (reading(), average()):
        api.on_message(each, 0.0)
    async with running(api.serve(bus, working.append)) as task:
        await until(lambda: (working and bus.pings) or task.done())
        yield port, bus
        await asyncio.sleep(0)
