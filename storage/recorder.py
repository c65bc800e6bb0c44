"""The recorder: the recording session, the query service, the storage requests, and statistics about all of them."""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from broker.admission import TokenBucket
from broker.contract.storage.topics import ANSWER, CANCEL, DRIFT, QUERY, REQUEST, STATS, Drift
from broker.errors import InvalidTopic, Rejected
from broker.log import Log
from broker.message import Message, Publication, read_message
from broker.mqtt.packets import Delivery
from broker.runtime.client_id import keep_secrets
from broker.runtime.clock import PlantClock
from broker.runtime.component import Bus
from broker.runtime.publisher import Publisher
from broker.runtime.rejection import rejection
from broker.runtime.settings import Settings, positive_int
from storage.clock import WallClock
from storage.database.batch import TimedDelivery
from storage.database.database import Database
from storage.declaration import DECLARATION, MEMORY, MIN_FREE, OUTBOX, RETENTION
from storage.errors import StorageError
from storage.ingest.handover import SessionHandover
from storage.ingest.retained import RetainedLimits
from storage.ingest.session import RecordingSession, session_options
from storage.ingest.stats import Stats
from storage.outbox.service import Outbox
from storage.query.answers import may_answer
from storage.query.limits import MAX_UNSENT_PARTS, Limits
from storage.query.turns import Queries
from storage.retention.maintenance import MaintenanceService
from storage.retention.policy import SHIPPED_POLICY, read_policy
from storage.retention.requests import Requests

log = Log(__name__)

DELIVER_S = 5.0
REMOVE_EVERY_S, REMOVED_AT_ONCE = 0.1, 500
"""How fast retained messages beyond the limits are removed; devices of one second must not fill the queue of publications."""


class Recorder:
    """A component that records in a separate MQTT session and announces itself like every other."""

    def __init__(self, settings: Settings) -> None:
        """Open the database.

        Raises:
            StorageError: the database cannot be opened; the text says why.
            InvalidPolicy: the retention policy cannot be read.
            InvalidSetting: one of the recorder's own settings cannot be used.
        """
        memory_mb = positive_int(MEMORY.name, settings.value(MEMORY), 1_000_000)
        min_free_mb = positive_int(MIN_FREE.name, settings.value(MIN_FREE), 1_000_000)
        outbox_mb = positive_int(OUTBOX.name, settings.value(OUTBOX), 1_000_000)
        policy = Path(settings.value(RETENTION) or SHIPPED_POLICY)
        read_policy(policy)
        self.database = Database(settings.database, memory_mb, min_free_mb, _end_process)
        self._stats = Stats()
        self._retained, self._refusals = RetainedLimits(), TokenBucket(burst=20, per_s=0.2)
        self._address, self._data_dir = settings.broker_address(DECLARATION.name), settings.data_dir
        self._options = session_options(_secret(settings.data_dir))
        self._clock = WallClock()
        if (newest_at := self.database.newest_at()) is not None:
            self._clock.continue_after(newest_at)
        self._session = RecordingSession(self._address, self._options, self.database, self._stats, self._on_commit, self._clock)
        self._publisher = Publisher(DECLARATION.name, PlantClock())
        self._queries = Queries(self.database, self._send, Limits())
        in_writer = self._session.in_writer
        self._outbox = Outbox(self.database, settings.lake_file.exists, outbox_mb << 20)
        self._maintenance = MaintenanceService(
            self.database, in_writer, policy, self._set_warning, self._clock, self._outbox.forwarded
        )
        self._requests = Requests(self.database, in_writer, self._maintenance, self._send)
        self._services = {QUERY.template.text: self._queries.submit, REQUEST.template.text: self._requests.submit}

    def on_message(self, _message: Message, _now_s: float) -> list[Publication]:
        """Return nothing: the recorder receives messages in its recording session."""
        return []

    def on_tick(self, _now_s: float) -> list[Publication]:
        """Return nothing: nothing in the recorder depends on plant time."""
        return []

    async def serve(self, bus: Bus, working: Callable[[bool], None]) -> None:
        """Record, answer and report until cancelled; then finish the last batch, stop all queries and close the database."""
        self._bus = bus
        work = (
            self._session.run(working, self._take_over),
            self._report(bus),
            self._remove_retained(bus),
            self._maintenance.run_daily(),
            self._outbox.run(),
        )
        tasks = {asyncio.create_task(each) for each in work}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            self._queries.cancel()
            self._requests.cancel()
            self._maintenance.stop()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._outbox.finish()
            await asyncio.to_thread(self.database.close)
            await self._queries.wait_closed()

    async def _take_over(self) -> None:
        """Record what a session of earlier releases holds, and end it."""
        earlier = replace(self._options, secret="")
        await SessionHandover(
            self._address, earlier, self._options, self._session, self._deliver, self._data_dir, DECLARATION.name
        ).run()

    async def _deliver(self, publication: Publication) -> None:
        await self._bus.deliver(publication, DELIVER_S)

    async def _report(self, bus: Bus) -> None:
        while True:
            await asyncio.sleep(1)
            self._stats.clock_warning = self._clock.warning
            with suppress(OSError):  # the disk failed: the session reports it with the next commit
                bus.publish(STATS.publication(self._stats.snapshot(self.database, self._session.queued)))

    def _set_warning(self, warning: str | None) -> None:
        self._stats.warning = warning

    def _on_commit(self, batch: list[TimedDelivery], drifts: tuple[Drift, ...]) -> None:
        """Answer the queries of a committed batch: they see every message that arrived before them."""
        for drift in drifts:
            self._bus.publish(DRIFT.publication(drift))
        for received in batch:
            if received.delivery.topic in self._services:
                self._submit(received.delivery)
            elif received.delivery.topic == CANCEL.template.text:
                self._cancel(received.delivery)
            elif received.delivery.retain:
                self._count_retained(received.delivery)

    def _count_retained(self, delivery: Delivery) -> None:
        """Reject a device's retained message where it has too many; the first of a burst are reported."""
        reason = self._retained.take(delivery.topic, len(delivery.payload))
        if reason is not None and self._refusals.take(time.monotonic()):
            self._bus.publish(rejection(DECLARATION.name, delivery.topic, delivery.payload, reason))

    async def _remove_retained(self, bus: Bus) -> None:
        """Remove what is beyond the limits from the broker, a part at a time."""
        while True:
            await asyncio.sleep(REMOVE_EVERY_S)
            for topic in self._retained.to_remove(REMOVED_AT_ONCE):
                bus.publish(Publication(topic=topic, payload=b"", retain=True))

    def _submit(self, delivery: Delivery) -> None:
        try:
            message = read_message(delivery)
            if not may_answer(message):
                raise Rejected("a request needs a response topic storage/answer/{client}")
        except Rejected as error:
            self._bus.publish(rejection(DECLARATION.name, delivery.topic, delivery.payload, str(error)))
        else:
            self._services[message.topic](message)

    def _cancel(self, delivery: Delivery) -> None:
        try:
            message = read_message(delivery)
            client = CANCEL.decode(message).client
            self._queries.cancel_of(ANSWER.template.topic(client=client), message.correlation_data)
        except (Rejected, InvalidTopic) as error:
            self._bus.publish(rejection(DECLARATION.name, delivery.topic, delivery.payload, str(error)))

    async def _send(self, publication: Publication) -> None:
        self._publisher.publish(publication, self._session.connection)
        while self._session.connection.unsent > MAX_UNSENT_PARTS:  # noqa: ASYNC110 - polled, to keep the connection simple
            await asyncio.sleep(0.005)


def _secret(data_dir: Path) -> str:
    try:
        return keep_secrets(data_dir, [DECLARATION.name])[DECLARATION.name]
    except OSError as error:
        raise StorageError(f"the secret of the recorder's client id cannot be written: {error}") from error


def _end_process() -> None:
    """Exit like a crash, which loses nothing: the supervisor starts a new process, which can open the database."""
    log.critical(
        "recorder-restarts",
        "the database has to be reopened, and a query that cannot be interrupted keeps it open: exiting for a restart",
    )
    os._exit(1)
