"""The recorder: the recording session, the answers to queries, and the numbers about both."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from broker.clock import PlantClock
from broker.component import Bus
from broker.contract.components import REJECTED
from broker.contract.storage import QUERY, STATS
from broker.errors import Rejected
from broker.message import Message, Publication
from broker.packets import Delivery
from broker.publisher import Publisher
from broker.runtime import broker_address, rejected, to_message
from broker.settings import Settings, positive_int
from storage.answer import answer, may_answer
from storage.batch import Received
from storage.commit import Database
from storage.declaration import DECLARATION, MEMORY, MIN_FREE
from storage.query import Limits
from storage.session import RecordingSession
from storage.stats import Stats

log = logging.getLogger(__name__)

_QUERY_TOPIC = QUERY.template.text
_QUERIES_AT_ONCE = 4
_UNSENT_CHUNKS = 32
"""Chunks of answers on their way at most: a slow reader holds its query back, not the recorder's memory."""


class Recorder:
    """A service: it records in a session of its own and announces itself like every component."""

    def __init__(self, settings: Settings) -> None:
        """Open the database.

        Raises:
            StorageError: the database cannot be opened; the text says why.
            InvalidSetting: one of the recorder's own settings cannot be used.
        """
        memory_mb = positive_int(MEMORY.name, settings.value(MEMORY), 1_000_000)
        min_free_mb = positive_int(MIN_FREE.name, settings.value(MIN_FREE), 1_000_000)
        self.database = Database(settings.database, memory_mb, min_free_mb)
        self._stats = Stats()
        address = broker_address(settings, DECLARATION.name)
        self._session = RecordingSession(address, self.database, self._stats, self._on_commit)
        self._publisher = Publisher(DECLARATION.name, PlantClock())
        self._queries = ThreadPoolExecutor(max_workers=_QUERIES_AT_ONCE, thread_name_prefix="query")
        self._answering: set[asyncio.Task[None]] = set()

    def on_message(self, _message: Message, _now_s: float) -> list[Publication]:
        """The recorder hears everything in its own session, nothing here."""
        return []

    def on_tick(self, _now_s: float) -> list[Publication]:
        """Nothing depends on plant time."""
        return []

    async def serve(self, bus: Bus, ready: Callable[[], None]) -> None:
        """Record, answer and report until cancelled."""
        self._bus = bus
        reporting = asyncio.create_task(self._report(bus))
        try:
            await self._session.run(ready)
        finally:
            reporting.cancel()
            self._queries.shutdown(wait=False, cancel_futures=True)
            self.database.close()

    async def _report(self, bus: Bus) -> None:
        while True:
            await asyncio.sleep(1)
            bus.publish(STATS.publication(self._stats.snapshot(self.database, self._session.queued)))

    def _on_commit(self, batch: list[Received]) -> None:
        """Answer the queries of a batch that is committed: they see every message that came before them."""
        for received in batch:
            if received.delivery.topic == _QUERY_TOPIC:
                task = asyncio.create_task(self._answer(received.delivery))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)

    async def _answer(self, delivery: Delivery) -> None:
        try:
            message = to_message(delivery)
            if not may_answer(message):
                raise Rejected("a query needs a response topic storage/answer/{client}")
        except Rejected as error:
            self._bus.publish(REJECTED.publication(rejected(delivery, str(error)), component=DECLARATION.name))
            return
        loop = asyncio.get_running_loop()
        cursor = self.database.cursor()
        try:
            publications = answer(message, cursor, Limits())
            while (publication := await loop.run_in_executor(self._queries, next, publications, None)) is not None:
                self._publisher.publish(publication, self._session.connection)
                await self._room()
        finally:
            cursor.close()

    async def _room(self) -> None:
        while self._session.connection.unsent > _UNSENT_CHUNKS:  # noqa: ASYNC110 - polled, to keep the connection simple
            await asyncio.sleep(0.005)
