"""What the `serve` of an HTTP adapter does: the server and the watch, side by side."""

import asyncio
from collections.abc import Callable

from adapters.http.server import HttpServer
from adapters.http.watch import BrokerWatch
from broker.runtime.component import Bus


async def serve(server: HttpServer, watch: BrokerWatch, bus: Bus, working: Callable[[bool], None]) -> None:
    """Serve until cancelled. The server stops first: requests that it finishes still need the watch.

    Raises:
        CannotStart: the port cannot be listened on.
    """
    tasks = [asyncio.create_task(server.serve(working)), asyncio.create_task(watch.run(bus))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
            await asyncio.wait({task})
    for task in tasks:
        if not task.cancelled():
            task.result()
