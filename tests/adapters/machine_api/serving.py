"""The machine API on a real socket, with a broker that the test plays."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.listening import Listening
from adapters.machine_api.component import MachineApi
from adapters.machine_api.declaration import PORT
from tests.adapters.http.fakes import FakeBus, running, until
from tests.adapters.machine_api.messages import average, reading
from tests.real_broker import free_ports


@asynccontextmanager
async def served() -> AsyncIterator[tuple[int, FakeBus]]:
    """Serve machine 1; its port and its bus."""
    (port,) = free_ports(1)
    api, bus, working = MachineApi(Listening(("127.0.0.1",), port, PORT.name)), FakeBus(), list[bool]()
    for each in (reading(), average()):
        api.on_message(each, 0.0)
    async with running(api.serve(bus, working.append)) as task:
        await until(lambda: (working and bus.pings) or task.done())
        yield port, bus
        await asyncio.sleep(0)
