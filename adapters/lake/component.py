"""The component around the forwarder: its thread, and its state on the bus."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

from adapters.lake.files import LakeFile
from adapters.lake.forwarder import Forwarder
from broker.errors import BusError
from broker.message import Message, Publication
from broker.runtime.component import Bus

DRAIN_S = 20.0
"""Time for what is left in a clean stop."""
STARTED_S = 1.5
"""A process that ends earlier counts as one that could not start, and supervisors start it again, whatever its exit code."""


class LakeForwarder:
    """Forwards in a thread of its own; `online` as soon as it runs: while the lake is away, it waits."""

    def __init__(self, lake: LakeFile, data_dir: Path) -> None:
        self._lake, self._data_dir = lake, data_dir

    def on_message(self, _message: Message, _now_s: float) -> list[Publication]:
        """Return nothing: it subscribes to nothing."""
        return []

    def on_tick(self, _now_s: float) -> list[Publication]:
        """Return nothing: nothing depends on plant time."""
        return []

    async def serve(self, bus: Bus, working: Callable[[bool], None]) -> None:  # noqa: ARG002
        """Forward until cancelled; then forward what is left.

        Raises:
            TakenOver: a later forwarder took over.
            NotAllowedHere: this is a copy of the site's data directory.
        """
        stop, started_s = threading.Event(), time.monotonic()
        forwarder = Forwarder(self._lake, self._data_dir)
        work = asyncio.create_task(asyncio.to_thread(forwarder.run, stop, DRAIN_S))
        working(True)
        try:
            await asyncio.shield(work)
        except BusError:
            await asyncio.sleep(max(0.0, started_s + STARTED_S - time.monotonic()))
            raise
        finally:
            stop.set()
            await asyncio.wait({work}, timeout=DRAIN_S + 10)
