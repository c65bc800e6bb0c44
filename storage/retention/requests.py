"""What the operator asks the storage to do, and what it does by itself: one thing at a time, in a thread of its own."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from broker import exchange
from broker.contract.storage.topics import JSON, Action, Progress, QueryError, RequestEnd, StorageRequest
from broker.errors import Rejected
from broker.message import Message, Publication, decode, encode
from storage.database.cursors import lower_priority
from storage.database.database import Database
from storage.errors import InvalidRequest, StorageError, first_line
from storage.ingest.stats import Stats
from storage.retention.archive import Tell
from storage.retention.maintenance import Housekeeping
from storage.retention.policy import read_policy
from storage.schema.inferred_views import create, drop, infer

log = logging.getLogger(__name__)

SHIPPED_POLICY = Path(__file__).with_name("retention.conf")
_LOOK_S = 60.0
"""How often it is looked whether a day is over, or the disk nearly full."""
_AGAIN_S = 600.0
"""How long after a run that failed, or could not make room, the next one comes."""
_REPORT_S = 0.2
_FAILURES = (StorageError, duckdb.Error, OSError, MemoryError, RuntimeError)

InWriter = Callable[[Callable[[], Any]], Any]
Send = Callable[[Publication], Awaitable[None]]


class Requests:
    """Carries out requests, and the daily housekeeping."""

    def __init__(self, database: Database, in_writer: InWriter, policy: Path, send: Send, stats: Stats) -> None:
        self._database, self._in_writer, self._policy, self._send, self._stats = database, in_writer, policy, send, stats
        self._housekeeping = Housekeeping(database, in_writer)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="housekeeping", initializer=lower_priority)
        self._answering: set[asyncio.Task[None]] = set()

    def submit(self, message: Message) -> None:
        """Carry out a request, after those before it."""
        task = asyncio.create_task(self._answer(message))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def run(self) -> None:
        """Archive each day when it is over, and forget what the policy does not keep, until cancelled."""
        tidied, again_s = datetime.min.replace(tzinfo=UTC).date(), 0.0
        while True:
            await asyncio.sleep(_LOOK_S)
            today, now_s = datetime.now(UTC).date(), time.monotonic()
            if (today != tidied or self._is_short()) and now_s >= again_s:
                tidied = today if await self._tidy_quietly(today) else tidied
                again_s = time.monotonic() + (0 if today == tidied and not self._is_short() else _AGAIN_S)

    def stop(self) -> None:
        """Answer no more. What runs ends when the database is closed; every step of it can be interrupted."""
        for task in self._answering:
            task.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _is_short(self) -> bool:
        with suppress(StorageError, OSError):  # the next run says so
            return self._database.free_bytes < read_policy(self._policy).floor_bytes
        return False

    async def _tidy_quietly(self, today: date) -> bool:
        try:
            done = await self._in_thread(partial(self._tidy, today, None, lambda *_: None))
        except _FAILURES as error:
            self._stats.warning = f"the archive is not up to date: {first_line(error)}"
            log.error("%s", self._stats.warning)
            return False
        log.info("%s", done)
        self._stats.warning = self._space_warning()
        return True

    def _space_warning(self) -> str | None:
        if not self._is_short():
            return None
        warning = "free disk is below the floor of the retention policy, and all that is left shall be kept"
        log.warning("%s: make room, or keep less (SCAUP_RETENTION)", warning)
        return warning

    async def _answer(self, message: Message) -> None:
        loop = asyncio.get_running_loop()
        reports: asyncio.Queue[Progress | None] = asyncio.Queue()
        finished = asyncio.Event()
        reporting = asyncio.create_task(self._report(message, reports, finished))

        def tell(doing: str, done: int, total: int) -> None:
            loop.call_soon_threadsafe(reports.put_nowait, Progress(doing, done, total))

        try:
            request = _decode(message)
            end = RequestEnd(done=await self._in_thread(partial(self._do, request, tell)))
        except InvalidRequest as error:
            end = RequestEnd(error=QueryError("invalid", str(error)))
        except _FAILURES as error:
            log.error("a request failed: %s", first_line(error))
            end = RequestEnd(error=QueryError("failed", first_line(error)))
        except Exception as error:
            log.exception("a request failed in an unexpected way")
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

    def _do(self, request: StorageRequest, tell: Tell) -> str:
        if request.action is Action.ARCHIVE:
            return self._tidy(datetime.now(UTC).date(), request.day, tell)
        if request.action is Action.RESTORE:
            return self._restore(request, tell)
        if request.action is Action.CREATE_VIEW:
            return self._create_view(request)
        return self._drop_view(request)

    def _tidy(self, today: date, day: date | None, tell: Tell) -> str:
        return str(self._housekeeping.tidy(read_policy(self._policy), today, tell, day))

    def _restore(self, request: StorageRequest, tell: Tell) -> str:
        if request.day is None:
            raise InvalidRequest("restore needs a day, such as 2026-01-31")
        restored = self._housekeeping.restore(request.day, tell)
        return f"{restored:,} messages of {request.day} are back in the database, until `scaup archive run {request.day}`"

    def _create_view(self, request: StorageRequest) -> str:
        if request.name is None or request.filter is None:
            raise InvalidRequest("a view needs a name and a topic filter")
        with self._database.cursor() as cursor:
            view = infer(cursor, request.name, request.filter)
        self._in_writer(lambda: self._database.transact(lambda connection: create(connection, view)))
        return f"view {view.name}: {', '.join(view.columns)}"

    def _drop_view(self, request: StorageRequest) -> str:
        if (name := request.name) is None:
            raise InvalidRequest("which view? A name is needed")
        self._in_writer(lambda: self._database.transact(lambda connection: drop(connection, name)))
        return f"view {name} is gone"

    async def _in_thread(self, work: Callable[[], str]) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _decode(message: Message) -> StorageRequest:
    try:
        return decode(message.payload, StorageRequest)
    except Rejected as error:
        raise InvalidRequest(f"the request cannot be used: {error}") from error
