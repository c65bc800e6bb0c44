"""Requests of the operator to the storage: archive, restore, back up, create and drop views. They run one after the other."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from broker import exchange
from broker.contract.storage.topics import JSON, Action, Progress, QueryError, RequestEnd, StorageRequest
from broker.errors import Rejected
from broker.log import Log
from broker.message import Message, Publication, decode, encode
from storage.backup.snapshot import SnapshotWriter
from storage.database.database import Database
from storage.database.opening import backing_up
from storage.errors import InvalidRequest, first_line
from storage.retention.archive import Report
from storage.retention.archive_files import InWriter
from storage.retention.maintenance import FAILURES, MaintenanceService
from storage.schema.declared_views import declared_view
from storage.schema.inferred_views import create, drop, infer

log = Log(__name__)

_REPORT_S = 0.2

Send = Callable[[Publication], Awaitable[None]]


class Requests:
    """Carries out requests in the thread of the maintenance; `send` is awaited for every message of a reply."""

    def __init__(self, database: Database, in_writer: InWriter, maintenance: MaintenanceService, send: Send) -> None:
        self._database, self._in_writer, self._maintenance, self._send = database, in_writer, maintenance, send
        self._answering: set[asyncio.Task[None]] = set()

    def submit(self, message: Message) -> None:
        """Carry out a request, after earlier ones."""
        task = asyncio.create_task(self._answer(message))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    def cancel(self) -> None:
        """Stop sending replies."""
        for task in self._answering:
            task.cancel()

    async def _answer(self, message: Message) -> None:
        loop = asyncio.get_running_loop()
        reports: asyncio.Queue[Progress | None] = asyncio.Queue()
        finished = asyncio.Event()
        reporting = asyncio.create_task(self._report(message, reports, finished))

        def report(doing: str, done: int, total: int) -> None:
            loop.call_soon_threadsafe(reports.put_nowait, Progress(doing, done, total))

        try:
            request = _decode(message)
            end = RequestEnd(done=await self._maintenance.in_thread(partial(self._do, request, report)))
        except InvalidRequest as error:
            end = RequestEnd(error=QueryError("invalid", str(error)))
        except FAILURES as error:
            log.error("request-failed", "a request failed: %(error)s", error=first_line(error))
            end = RequestEnd(error=QueryError("failed", first_line(error)))
        except Exception as error:
            log.exception("request-failed", "a request failed in an unexpected way")
            end = RequestEnd(error=QueryError("failed", f"{type(error).__name__}: {first_line(error)}"))
        except asyncio.CancelledError:
            reporting.cancel()
            raise
        reports.put_nowait(None)
        finished.set()
        await self._send(exchange.final(message, await reporting, encode(end), JSON))

    async def _report(self, message: Message, reports: "asyncio.Queue[Progress | None]", finished: asyncio.Event) -> int:
        """Publish the latest progress a few times a second, until None comes; return how many messages were published."""
        parts = 0
        while True:
            progress = await reports.get()
            while not reports.empty():
                progress = reports.get_nowait()
            if progress is None:
                return parts
            parts += 1
            await self._send(exchange.part(message, parts, encode(progress), JSON))
            with suppress(TimeoutError):
                await asyncio.wait_for(finished.wait(), _REPORT_S)

    def _do(self, request: StorageRequest, report: Report) -> str:
        if request.action is Action.ARCHIVE:
            return self._maintenance.run(datetime.now(UTC).date(), request.day, report)
        if request.action is Action.RESTORE:
            return self._restore(request, report)
        if request.action is Action.BACKUP:
            return self._back_up(request, report)
        if request.action is Action.CREATE_VIEW:
            return self._create_view(request)
        return self._drop_view(request)

    def _restore(self, request: StorageRequest, report: Report) -> str:
        if request.day is None:
            raise InvalidRequest("restore needs a day, such as 2026-01-31")
        restored = self._maintenance.restore(request.day, report)
        return f"{restored:,} messages of {request.day} are back in the database, until `scaup archive run {request.day}`"

    def _back_up(self, request: StorageRequest, report: Report) -> str:
        """Write what a backup needs to a folder of the data directory: no path comes over the bus."""
        folder, token = backing_up(self._database.path), request.name
        if not token:
            raise InvalidRequest("backup needs a name, by which its files are recognised")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        writer = SnapshotWriter(self._database.cursor, folder, self._database.archive, self._database.check_room, report)
        snapshot = writer.write(self._database.last_number, request.held, request.database, token)
        return f"messages up to {snapshot.number:,} are in {folder}"

    def _create_view(self, request: StorageRequest) -> str:
        if request.name is None or request.filter is None:
            raise InvalidRequest("a view needs a name and a topic filter")
        if request.columns:
            view = declared_view(request.name, request.filter, request.columns, request.time)
        else:
            with self._database.cursor() as cursor:
                view = infer(cursor, request.name, request.filter)
        self._in_writer(lambda: self._database.transact(lambda connection: create(connection, view)))
        return f"view {view.name}: {', '.join(view.columns)}"

    def _drop_view(self, request: StorageRequest) -> str:
        if (name := request.name) is None:
            raise InvalidRequest("dropping a view needs its name")
        self._in_writer(lambda: self._database.transact(lambda connection: drop(connection, name)))
        return f"view {name} dropped"


def _decode(message: Message) -> StorageRequest:
    try:
        return decode(message.payload, StorageRequest)
    except Rejected as error:
        raise InvalidRequest(f"the request cannot be used: {error}") from error
