"""The recorder: the recording session, the answers to queries, and the numbers about both."""

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from broker.contract.storage.topics import DRIFT, QUERY, REQUEST, STATS, Drift
from broker.errors import Rejected
from broker.message import Message, Publication, read_message
from broker.mqtt.packets import Delivery
from broker.runtime.clock import PlantClock
from broker.runtime.component import Bus
from broker.runtime.publisher import Publisher
from broker.runtime.rejection import rejection
from broker.runtime.settings import Settings, positive_int
from storage.database.batch import TimedDelivery
from storage.database.database import Database
from storage.declaration import DECLARATION, MEMORY, MIN_FREE, RETENTION
from storage.ingest.session import RecordingSession
from storage.ingest.stats import Stats
from storage.query.answers import may_answer
from storage.query.sandbox import Limits
from storage.query.turns import Queries
from storage.retention.policy import read_policy
from storage.retention.requests import SHIPPED_POLICY, Requests

log = logging.getLogger(__name__)

_UNSENT_CHUNKS = 32
"""Chunks of answers on their way at most: a slow reader holds its query back, not the recorder's memory."""


class Recorder:
    """A service: it records in a session of its own and announces itself like every component."""

    def __init__(self, settings: Settings) -> None:
        """Open the database.

        Raises:
            StorageError: the database cannot be opened; the text says why.
            InvalidPolicy: the retention policy cannot be read.
            InvalidSetting: one of the recorder's own settings cannot be used.
        """
        memory_mb = positive_int(MEMORY.name, settings.value(MEMORY), 1_000_000)
        min_free_mb = positive_int(MIN_FREE.name, settings.value(MIN_FREE), 1_000_000)
        policy = Path(settings.value(RETENTION) or SHIPPED_POLICY)
        read_policy(policy)
        self.database = Database(settings.database, memory_mb, min_free_mb, _end_process)
        self._stats = Stats()
        address = settings.broker_address(DECLARATION.name)
        self._session = RecordingSession(address, self.database, self._stats, self._on_commit)
        self._publisher = Publisher(DECLARATION.name, PlantClock())
        self._queries = Queries(self.database, self._send, Limits())
        self._requests = Requests(self.database, self._session.in_writer, policy, self._send, self._stats)
        self._askings = {QUERY.template.text: self._queries.take, REQUEST.template.text: self._requests.take}

    def on_message(self, _message: Message, _now_s: float) -> list[Publication]:
        """Return nothing: the recorder hears everything in its own session."""
        return []

    def on_tick(self, _now_s: float) -> list[Publication]:
        """Return nothing: no part of the recorder depends on plant time."""
        return []

    async def serve(self, bus: Bus, working: Callable[[bool], None]) -> None:
        """Record, answer and report until cancelled; then finish the last batch, stop all queries and close the database."""
        self._bus = bus
        work = (self._session.run(working), self._report(bus), self._requests.run())
        tasks = {asyncio.create_task(each) for each in work}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            self._queries.cancel()
            self._requests.stop()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.to_thread(self.database.close)
            await self._queries.ended()

    async def _report(self, bus: Bus) -> None:
        while True:
            await asyncio.sleep(1)
            with suppress(OSError):  # the disk is away: the session says so as soon as something is to be committed
                bus.publish(STATS.publication(self._stats.snapshot(self.database, self._session.queued)))

    def _on_commit(self, batch: list[TimedDelivery], drifts: tuple[Drift, ...]) -> None:
        """Answer the queries of a batch that is committed: they see every message that came before them."""
        for drift in drifts:
            self._bus.publish(DRIFT.publication(drift))
        for received in batch:
            if received.delivery.topic in self._askings:
                self._take(received.delivery)

    def _take(self, delivery: Delivery) -> None:
        try:
            message = read_message(delivery)
            if not may_answer(message):
                raise Rejected("a question needs a response topic storage/answer/{client}")
        except Rejected as error:
            self._bus.publish(rejection(DECLARATION.name, delivery.topic, delivery.payload, str(error)))
        else:
            self._askings[message.topic](message)

    async def _send(self, publication: Publication) -> None:
        self._publisher.publish(publication, self._session.connection)
        while self._session.connection.unsent > _UNSENT_CHUNKS:  # noqa: ASYNC110 - polled, to keep the connection simple
            await asyncio.sleep(0.005)


def _end_process() -> None:
    """End like a crash, which loses nothing: the supervisor starts a new process, which can open the database."""
    log.critical("the database has to be opened again, and a query that cannot be interrupted keeps it open: starting anew")
    os._exit(1)
