"""The recording session: a message is received, recognised, committed, and only then acknowledged.

The acknowledgement is sent in `_acknowledge`, nowhere else.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from broker.contract.storage.topics import QUERY, Drift
from broker.mqtt.address import Address
from broker.mqtt.connection import Connection, Options, Owner, Subscription
from broker.mqtt.packets import Delivery
from storage.database.batch import Received, arrow_table
from storage.database.database import Database, Stored
from storage.database.redelivery import RECEIVE_MAXIMUM, Committed
from storage.errors import StorageError
from storage.ingest.stats import Stats
from storage.schema.typed_streams import StreamCodes

log = logging.getLogger(__name__)

CLIENT_ID = "scaup-recorder"
NEVER_EXPIRES = 0xFFFFFFFF
LARGEST_BATCH = 10_000
LARGEST_BATCH_BYTES = 16 * 1024 * 1024
"""A batch is at most so long, unless one message alone is longer: it has to fit into the database's memory several times."""
SMALL_BATCH = 500
GATHER_S = 0.05
"""How long a small batch waits for company, unless somebody waits for an answer: bounds the commits per second at low rates."""
LARGEST_QUEUE = 200_000
"""Messages in memory at which those of QoS 0, which nobody will deliver again, are dropped and counted."""
LONGEST_RETRY_S = 5.0
FINISH_S = 4.0
"""How long a clean stop waits for the last commits; what is not acknowledged by then is delivered again."""

_QUESTION = QUERY.template.text
_EVERYTHING = Subscription(filter="#", qos=2, no_local=True, retain_as_published=True, retain_handling=1)

OnCommit = Callable[[list[Received], tuple[Drift, ...]], None]
T = TypeVar("T")


class RecordingSession(Owner):
    """Records everything the broker delivers to one session that never expires.

    `on_commit` is called with each committed batch, in order, and with what was new about its payloads.
    """

    def __init__(self, address: Address, database: Database, stats: Stats, on_commit: OnCommit) -> None:
        options = Options(
            client_id=CLIENT_ID,
            subscriptions=(_EVERYTHING,),
            session_expiry_s=NEVER_EXPIRES,
            receive_maximum=RECEIVE_MAXIMUM,
            acknowledge=False,
        )
        self.connection = Connection(address, options, self)
        self._database, self._stats, self._on_commit = database, stats, on_commit
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")
        self._codes = StreamCodes()
        self._session = 0
        self._unnumbered = False
        self._committed = Committed(0, 0)
        self._pending: list[Received] = []
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._committing = 0
        self._last_us = 0  # arrival times grow with every message of this run, whatever happens to the clock: they order them
        self._working: Callable[[bool], None] = lambda working: None
        self._finishing = False

    def in_writer(self, work: Callable[[], T]) -> T:
        """Run something in the thread that writes to the database, and wait for it. Not for the event loop's own thread."""
        return self._writer.submit(work).result()

    @property
    def queued(self) -> int:
        """Messages received and not yet committed or being committed."""
        return len(self._pending) + self._committing

    async def run(self, working: Callable[[bool], None]) -> None:
        """Record until cancelled, then commit and acknowledge what has arrived, and leave.

        `working` is told whenever recording begins and ceases to work.

        Raises:
            TakenOver: another recorder connected to the same broker.
        """
        self._working = working
        connecting = asyncio.create_task(self.connection.run(), name="recording")
        writing = asyncio.create_task(self._write(), name="writing")
        try:
            done, _ = await asyncio.wait({connecting, writing}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._finishing = True
            self._arrived.set()
            await asyncio.wait({writing}, timeout=FINISH_S)
            await self.connection.disconnect()
            connecting.cancel()
            writing.cancel()
            await asyncio.gather(connecting, writing, return_exceptions=True)
            await asyncio.to_thread(self._writer.shutdown)

    async def before_connect(self) -> None:
        """Commit what the lost connection delivered: all of it, and nothing later, may now be delivered again."""
        await self._idle.wait()
        self._session = await self._patiently(self._database.session)
        self._committed = Committed(self._session, self._database.last_number)

    async def on_session(self, present: bool) -> None:
        """Number a new session before anything is delivered in it: packet identifiers start again.

        If the connection is given up meanwhile, the broker's new session has no number yet when it is there again.
        """
        self._unnumbered |= not present
        if self._unnumbered:
            self._session = await self._patiently(self._database.begin_session)
            self._unnumbered = False
            self._committed = Committed(self._session, 0)
            log.info("the broker began a new session (%d)", self._session)

    def on_up(self) -> None:
        """Recording works."""
        self._working(True)

    def on_down(self) -> None:
        """Nothing is delivered until the next connection."""
        self._working(False)

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        """Queue messages for the next batch."""
        self._stats.received += len(deliveries)
        if len(self._pending) >= LARGEST_QUEUE:
            kept = [delivery for delivery in deliveries if delivery.qos]
            self._stats.dropped += len(deliveries) - len(kept)
            deliveries = kept
        first_us = max(self._last_us + 1, time.time_ns() // 1000)
        self._last_us = first_us + len(deliveries)
        self._pending.extend(map(Received, range(first_us, self._last_us), deliveries))
        self._arrived.set()
        self._idle.clear()

    async def _write(self) -> None:
        while self._pending or not self._finishing:
            await self._arrived.wait()
            if len(self._pending) < SMALL_BATCH and not any(each.delivery.topic == _QUESTION for each in self._pending):
                await asyncio.sleep(GATHER_S)
            if batch := await self._unknown(self._take()):
                await self._commit(batch)
            if not self._pending:
                await self._patiently(self._database.checkpoint)
            if not self._pending:
                self._idle.set()

    def _take(self) -> list[Received]:
        size, count = 0, 0
        for received in self._pending[:LARGEST_BATCH]:
            size += len(received.delivery.payload)
            if count and size > LARGEST_BATCH_BYTES:
                break
            count += 1
        batch = self._pending[:count]
        del self._pending[:count]
        if not self._pending:
            self._arrived.clear()
        return batch

    async def _unknown(self, batch: list[Received]) -> list[Received]:
        """Return what of a batch is not committed yet, and acknowledge the rest again."""
        flagged = [received.delivery for received in batch if received.delivery.dup]
        if not flagged:
            return batch
        self._committing = len(batch)
        known = await self._patiently(partial(self._database.again, self._committed, flagged))
        self._stats.duplicates += len(known)
        self._acknowledge(known)
        again = {id(delivery) for delivery in known}
        new = [received for received in batch if id(received.delivery) not in again]
        self._committing = len(new)
        return new

    async def _commit(self, batch: list[Received]) -> None:
        """Commit a batch, trying for as long as it takes: nothing is acknowledged, so nothing is lost meanwhile."""
        self._committing = len(batch)
        stored = await self._patiently(_Storing(self._database, batch, self._session, self._codes).attempt)
        self._committing = 0
        self._stats.committed += len(batch)
        self._stats.rejected += stored.rejected
        self._stats.commit_took(time.time() - batch[0].at_us / 1e6)
        self._acknowledge([received.delivery for received in batch])
        self._on_commit(batch, stored.drifts)

    async def _patiently(self, work: Callable[[], T]) -> T:
        """Do something with the database, again and again with growing pauses while it or the disk fails."""
        retry_s = 0.1
        while True:
            try:
                done = await self._in_writer(work)
            except (StorageError, OSError, MemoryError) as error:
                self._note_failure(str(error))
            else:
                self._note_success()
                return done
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, LONGEST_RETRY_S)

    def _note_failure(self, reason: str) -> None:
        if self._stats.last_error != reason:
            log.error("%s; not acknowledging until it works again", reason)
        self._stats.last_error = reason
        self._working(False)

    def _note_success(self) -> None:
        if self._stats.last_error is not None:
            log.info("recording again")
            self._stats.last_error = None
            self._working(self.connection.connected)

    def _acknowledge(self, deliveries: list[Delivery]) -> None:
        self._stats.acknowledged += self.connection.acknowledge(deliveries)

    async def _in_writer(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)


class _Storing:
    """One batch on its way into the database, however many attempts that takes."""

    def __init__(self, database: Database, batch: list[Received], session: int, codes: StreamCodes) -> None:
        self._database = database
        self._make_table = partial(arrow_table, batch, session, codes)
        self._failed_before = False

    def attempt(self) -> Stored:
        """Commit what no failed attempt turns out to have made durable."""
        table = self._make_table()
        if self._failed_before:
            table = self._database.remaining(table)
        self._failed_before = True
        return self._database.commit(table)
