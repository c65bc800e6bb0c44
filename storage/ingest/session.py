"""The recording session: a message is received, compared with committed ones, committed, and only then acknowledged.

Acknowledgements are sent in `_acknowledge` and nowhere else.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol, TypeVar

from broker.contract.storage.topics import QUERY, Drift
from broker.log import Log
from broker.mqtt.connection import Connection, ConnectionListener
from broker.mqtt.options import Address, Options, Subscription
from broker.mqtt.packets import Delivery
from storage.clock import WallClock
from storage.database.batch import TimedDelivery, arrow_table
from storage.database.database import CommitResult, Database
from storage.database.redelivery import RECEIVE_MAXIMUM, CommittedMessages
from storage.errors import StorageError
from storage.ingest.stats import Stats
from storage.schema.typed_streams import StreamCodes

log = Log(__name__)

CLIENT_ID = "scaup-recorder"
NEVER_EXPIRES = 0xFFFFFFFF
LARGEST_BATCH = 10_000
LARGEST_BATCH_BYTES = 16 * 1024 * 1024
"""Payload of a batch of more than one message: it has to fit into the database's memory several times."""
SMALL_BATCH = 500
GATHER_S = 0.05
"""Time for which a small batch without a query waits for more messages: limits the commits per second at low rates."""
LARGEST_QUEUE = 200_000
"""Messages in memory beyond which those of QoS 0, which the broker does not deliver again, are dropped and counted."""
LONGEST_RETRY_S = 5.0
FINISH_S = 4.0
"""Time for the last commits in a clean stop; the broker redelivers messages that are not acknowledged by then."""

_QUERY_TOPIC = QUERY.template.text
_EVERYTHING = Subscription(filter="#", qos=2, no_local=True, retain_as_published=True, retain_handling=1)

OnCommit = Callable[[list[TimedDelivery], tuple[Drift, ...]], None]
T = TypeVar("T")


class Link(Protocol):
    """A connection on which deliveries are acknowledged."""

    def acknowledge(self, deliveries: list[Delivery]) -> int:
        """Acknowledge deliveries; return how many were acknowledged."""
        ...


def session_options(secret: str) -> Options:
    """Return the options of the recording session with this secret in its client id; earlier releases had none."""
    return Options(
        client_id=CLIENT_ID,
        secret=secret,
        subscriptions=(_EVERYTHING,),
        session_expiry_s=NEVER_EXPIRES,
        receive_maximum=RECEIVE_MAXIMUM,
        acknowledge=False,
    )


class RecordingSession(ConnectionListener):
    """Records every message that the broker delivers to one session that never expires.

    `on_commit` is called with each committed batch, in order, and with the changes in the shape of its payloads.
    """

    def __init__(
        self, address: Address, options: Options, database: Database, stats: Stats, on_commit: OnCommit, clock: WallClock
    ) -> None:
        self.connection = Connection(address, options, self)
        self._link: Link = self.connection
        self._database, self._stats, self._on_commit, self._clock = database, stats, on_commit, clock
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")
        self._codes = StreamCodes()
        self._session = 0
        self._unnumbered = False
        self._committed = CommittedMessages(0, 0)
        self._pending: list[TimedDelivery] = []
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._committing = 0
        self._working: Callable[[bool], None] = lambda working: None
        self._finishing = False

    def in_writer(self, work: Callable[[], T]) -> T:
        """Run `work` in the thread that writes to the database and return its result. Not to be called in the event loop."""
        return self._writer.submit(work).result()

    @property
    def queued(self) -> int:
        """Messages that are received but not committed."""
        return len(self._pending) + self._committing

    async def run(self, working: Callable[[bool], None], before: Callable[[], Awaitable[None]] | None = None) -> None:
        """Record until cancelled, then commit and acknowledge the messages that have arrived, and disconnect.

        `working` is called with True when recording starts to work, with False when it stops. `before` runs before the first
        connection, and may record from other sessions with `record_from`.

        Raises:
            TakenOver: another recorder connected to the same broker.
        """
        self._working = working
        connecting = asyncio.create_task(self._connect(before), name="recording")
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

    async def _connect(self, before: Callable[[], Awaitable[None]] | None) -> None:
        if before is not None:
            await before()
        await self.connection.run()

    async def before_connect(self) -> None:
        """Commit all messages of the lost connection: exactly those may now be delivered again."""
        await self.record_from(self.connection, await self.last_session())

    async def record_from(self, link: "Link", session: int) -> None:
        """Commit all messages so far. Those that arrive next belong to `session`, and are acknowledged on `link`."""
        await self._idle.wait()
        self._link, self._session = link, session
        self._committed = CommittedMessages(session, self._database.last_number)

    async def until_committed(self) -> None:
        """Wait until all messages that have arrived are committed and acknowledged."""
        await self._idle.wait()

    async def last_session(self) -> int:
        """Return the number of the newest session, 0 before the first."""
        return await self._retry(self._database.session)

    async def begin_session(self) -> int:
        """Number a session that the broker began; return its number."""
        return await self._retry(self._database.begin_session)

    def report(self, working: bool) -> None:
        """Report that recording works, or does not."""
        self._working(working)

    async def on_session(self, present: bool) -> None:
        """Number a new session before anything is delivered in it: packet identifiers start at 1.

        If the connection is lost meanwhile, the broker keeps the new session, which gets its number at the next connection.
        """
        self._unnumbered |= not present
        if self._unnumbered:
            self._session = await self.begin_session()
            self._unnumbered = False
            self._committed = CommittedMessages(self._session, 0)
            log.info("session-new", "the broker began a new session (%(session)d)", session=self._session)

    def on_up(self) -> None:
        """Report that recording works."""
        self._working(True)

    def on_down(self) -> None:
        """Report that nothing is recorded until the next connection."""
        self._working(False)

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        """Queue messages for the next batch."""
        self._stats.received += len(deliveries)
        if len(self._pending) >= LARGEST_QUEUE:
            lasting = [delivery for delivery in deliveries if delivery.qos]
            self._stats.dropped += len(deliveries) - len(lasting)
            deliveries = lasting
        self._pending.extend(map(TimedDelivery, self._clock.arrivals(len(deliveries)), deliveries))
        self._arrived.set()
        self._idle.clear()

    async def _write(self) -> None:
        while self._pending or not self._finishing:
            await self._arrived.wait()
            if len(self._pending) < SMALL_BATCH and not any(each.delivery.topic == _QUERY_TOPIC for each in self._pending):
                await asyncio.sleep(GATHER_S)
            if batch := await self._drop_redelivered(self._take_batch()):
                await self._commit(batch)
            if not self._pending:
                await self._retry(self._database.checkpoint)
            if not self._pending:
                self._idle.set()

    def _take_batch(self) -> list[TimedDelivery]:
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

    async def _drop_redelivered(self, batch: list[TimedDelivery]) -> list[TimedDelivery]:
        """Return the messages of a batch that are not committed yet; acknowledge the others once more."""
        flagged = [received.delivery for received in batch if received.delivery.dup]
        if not flagged:
            return batch
        self._committing = len(batch)
        redelivered = await self._retry(partial(self._database.find_redelivered, self._committed, flagged))
        self._stats.duplicates += len(redelivered)
        self._acknowledge(redelivered)
        known = {id(delivery) for delivery in redelivered}
        new = [received for received in batch if id(received.delivery) not in known]
        self._committing = len(new)
        return new

    async def _commit(self, batch: list[TimedDelivery]) -> None:
        """Commit a batch, retrying until it succeeds: the broker keeps messages that are not acknowledged."""
        self._committing = len(batch)
        result = await self._retry(_Commit(self._database, batch, self._session, self._codes).attempt)
        self._committing = 0
        self._stats.committed += len(batch)
        self._stats.rejected += result.rejected
        self._stats.add_commit(self._clock.age_s(batch[0].at_us))
        self._acknowledge([received.delivery for received in batch])
        self._on_commit(batch, result.drifts)

    async def _retry(self, work: Callable[[], T]) -> T:
        """Run `work` in the writer thread; while the database or the disk fails, retry with growing pauses."""
        retry_s = 0.1
        while True:
            try:
                result = await self._run_in_writer(work)
            except (StorageError, OSError, MemoryError) as error:
                self._note_failure(str(error))
            else:
                self._note_success()
                return result
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, LONGEST_RETRY_S)

    def _note_failure(self, reason: str) -> None:
        if self._stats.last_error != reason:
            log.error("recording-stopped", "%(reason)s; not acknowledging until it works again", reason=reason)
        self._stats.last_error = reason
        self._working(False)

    def _note_success(self) -> None:
        if self._stats.last_error is not None:
            log.info("recording-continues", "recording again")
            self._stats.last_error = None
            self._working(self.connection.connected)

    def _acknowledge(self, deliveries: list[Delivery]) -> None:
        self._stats.acknowledged += self._link.acknowledge(deliveries)

    async def _run_in_writer(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)


class _Commit:
    """The commit of one batch, in one attempt or more."""

    def __init__(self, database: Database, batch: list[TimedDelivery], session: int, codes: StreamCodes) -> None:
        self._database = database
        self._make_table = partial(arrow_table, batch, session, codes)
        self._durable_before: int | None = None

    def attempt(self) -> CommitResult:
        """Commit the messages that no earlier attempt made durable."""
        table = self._make_table()
        if self._durable_before is None:
            self._durable_before = self._database.last_number
        else:
            table = self._database.remaining(table, self._durable_before)
        return self._database.commit(table)
