"""The recorder: the recording session, the answers to queries, and the numbers about both."""

import asyncio
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from broker.address import broker_address
from broker.clock import PlantClock
from broker.component import Bus
from broker.contract.components import REJECTED
from broker.contract.storage import QUERY, STATS
from broker.errors import Rejected
from broker.message import Message, Publication
from broker.packets import Delivery
from broker.publisher import Publisher
from broker.runtime import rejected, to_message
from broker.settings import Settings, positive_int
from storage.answer import answer, may_answer
from storage.batch import Received
from storage.commit import Database
from storage.declaration import DECLARATION, MEMORY, MIN_FREE
from storage.query import Limits
from storage.session import RecordingSession
from storage.stats import Stats

_QUERY_TOPIC = QUERY.template.text
_QUERIES_AT_ONCE = 4
_MOST_QUERIES = 100
"""Queries that run or wait; one more is rejected."""
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
        """Return nothing: the recorder hears everything in its own session."""
        return []

    def on_tick(self, _now_s: float) -> list[Publication]:
        """Return nothing: no part of the recorder depends on plant time."""
        return []

    async def serve(self, bus: Bus, working: Callable[[bool], None]) -> None:
        """Record, answer and report until cancelled; then finish the last batch, stop all queries and close the database."""
        self._bus = bus
        tasks = {asyncio.create_task(self._session.run(working)), asyncio.create_task(self._report(bus))}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (*tasks, *self._answering):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.to_thread(self.database.close)
            await asyncio.gather(*self._answering, return_exceptions=True)
            self._queries.shutdown(wait=False, cancel_futures=True)

    async def _report(self, bus: Bus) -> None:
        while True:
            await asyncio.sleep(1)
            bus.publish(STATS.publication(self._stats.snapshot(self.database, self._session.queued)))

    def _on_commit(self, batch: list[Received]) -> None:
        """Answer the queries of a batch that is committed: they see every message that came before them."""
        for received in batch:
            if received.delivery.topic == _QUERY_TOPIC:
                self._take_query(received.delivery)

    def _take_query(self, delivery: Delivery) -> None:
        try:
            message = to_message(delivery)
            if not may_answer(message):
                raise Rejected("a query needs a response topic storage/answer/{client}")
            if len(self._answering) >= _MOST_QUERIES:
                raise Rejected(f"{_MOST_QUERIES} queries are waiting already: ask again later")
        except Rejected as error:
            self._bus.publish(REJECTED.publication(rejected(delivery, str(error)), component=DECLARATION.name))
            return
        task = asyncio.create_task(self._answer(message))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, message: Message) -> None:
        loop = asyncio.get_running_loop()
        publications = answer(message, self.database, Limits())
        try:
            while (publication := await loop.run_in_executor(self._queries, next, publications, None)) is not None:
                self._publisher.publish(publication, self._session.connection)
                await self._room()
        finally:
            await loop.run_in_executor(None, _close, publications)

    async def _room(self) -> None:
        while self._session.connection.unsent > _UNSENT_CHUNKS:  # noqa: ASYNC110 - polled, to keep the connection simple
            await asyncio.sleep(0.005)


def _close(publications: Iterator[Publication]) -> None:
    """Let an answer that is given up return its cursor; one that is being computed does so when it is interrupted."""
    if isinstance(publications, Generator):
        with suppress(ValueError):  # it is running in another thread
            publications.close()
