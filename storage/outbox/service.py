"""Closes ranges while the recorder records: when, how large, and how much may wait.

A busy site closes a range a second, so that the lake is seconds behind. A quiet one waits longer, since a commit of the lake
costs the same for one row. What does not fit into the outbox stays in the database, and is written when the lake has taken
some: the rows are there anyway.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from broker.contract.outbox import Range
from broker.log import Log
from storage.database.cursors import lower_priority
from storage.database.database import Database
from storage.errors import StorageError, first_line
from storage.outbox.export import LARGEST_RANGE, OutboxFiles

log = Log(__name__)

CHECK_S = 0.2
BUSY_S = 1.0
"""Age at which a range with many messages is closed."""
BUSY_MESSAGES = 2_000
QUIET_S = 10.0
"""Age at which a range with few is closed."""
CUT_OFF_S, CUT_OFF_RANGES = 60.0, 60
"""Age at which a range is closed while as many ranges wait: the lake takes none."""
RETRY_S = 5.0
LAST_RANGES_S = 20.0
"""Time for the last ranges in a clean stop; the next start writes the rest."""


class Outbox:
    """Writes the outbox of one database while `joined`, in a thread with low priority."""

    def __init__(self, database: Database, joined: Callable[[], bool], largest_bytes: int) -> None:
        self._database, self._joined, self._largest_bytes = database, joined, largest_bytes
        self._thread = ThreadPoolExecutor(1, "outbox", initializer=lower_priority)
        self._files: OutboxFiles | None = None
        self._since_s, self._recorded, self._full = time.monotonic(), -1, False

    async def run(self) -> None:
        """Close ranges until cancelled."""
        failed = False
        while True:
            await asyncio.sleep(RETRY_S if failed else CHECK_S)
            if not self._joined():
                self._files = None
                continue
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._work)
                failed = False
            except (StorageError, OSError, MemoryError) as error:
                if not failed:
                    log.error("outbox-failed", "%(error)s: trying again", error=first_line(error))
                failed = True

    async def finish(self) -> None:
        """Close the last ranges, when nothing is recorded any more."""
        if self._joined():
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._close_all)
            except (StorageError, OSError, MemoryError) as error:
                log.error("outbox-failed", "%(error)s: the next start goes on", error=first_line(error))
        self._thread.shutdown(wait=False, cancel_futures=True)

    def forwarded(self) -> int | None:
        """Return the number up to which the lake has all messages, None for a site that is not joined: nothing waits for it."""
        if not self._joined():
            return None
        return self._files.upto if self._files is not None else 0

    def _work(self) -> None:
        files = self._opened()
        recorded = self._database.last_number
        if recorded != self._recorded:
            files.note_recorded(recorded)
            self._recorded = recorded
        waiting, closed = files.waiting(), files.closed()
        if recorded <= closed:
            self._since_s = time.monotonic()
        elif self._due(recorded - closed, len(waiting)) and self._has_room(files):
            files.write(Range(closed + 1, min(recorded, closed + LARGEST_RANGE)))
            self._since_s = time.monotonic()

    def _due(self, messages: int, waiting: int) -> bool:
        age_s = time.monotonic() - self._since_s
        if messages >= LARGEST_RANGE:
            return True
        if waiting >= CUT_OFF_RANGES:
            return age_s >= CUT_OFF_S
        return age_s >= (BUSY_S if messages >= BUSY_MESSAGES else QUIET_S)

    def _close_all(self) -> None:
        files, ends_s = self._opened(), time.monotonic() + LAST_RANGES_S
        recorded = self._database.last_number
        files.note_recorded(recorded)
        while (closed := files.closed()) < recorded and time.monotonic() < ends_s and self._has_room(files):
            files.write(Range(closed + 1, min(recorded, closed + LARGEST_RANGE)))

    def _has_room(self, files: OutboxFiles) -> bool:
        """Return whether another range may be written; report once when it may not."""
        size = files.bytes()
        full = size >= self._largest_bytes
        if full and not self._full:
            log.warning(
                "outbox-full",
                "%(size_mb)d MiB wait for the lake in %(folder)s: further messages stay in the database until it takes them",
                size_mb=size >> 20,
                folder=files.folder,
            )
        self._full = full
        return not full

    def _opened(self) -> OutboxFiles:
        if self._files is None:
            self._files = OutboxFiles(self._database)
        return self._files
