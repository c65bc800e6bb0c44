"""Maintenance of the database and its archive: the steps, their order, and the daily schedule.

The steps, each of which runs even if another fails:

    1  below the policy's floor of free disk, delete early what may be deleted (`purge.py`)
    2  archive the days that are over (`archive.py`)
    3  delete what the policy no longer keeps (`purge.py`)
    4  compact the database file if it is worth it (`compact.py`)
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import duckdb

from broker.log import Log
from storage.clock import WallClock
from storage.database.cursors import lower_priority
from storage.database.database import Database
from storage.errors import ArchiveFailed, InvalidRequest, StorageError, first_line
from storage.retention.archive import Archive, Report
from storage.retention.archive_files import InWriter
from storage.retention.compact import compact, worth_compacting
from storage.retention.policy import Policy, read_policy
from storage.retention.purge import Purge

log = Log(__name__)

_CHECK_S = 60.0
"""Interval of the checks whether a day is over or the disk nearly full."""
_RETRY_S = 600.0
"""Pause after a run that failed or could not free enough disk."""
Forwarded = Callable[[], int | None]
"""Returns the number up to which the lake has all messages, None for a site that forwards nothing."""
FAILURES = (StorageError, duckdb.Error, OSError, MemoryError, RuntimeError)
"""Errors of a step that are reported and logged without a traceback."""


@dataclass(frozen=True, slots=True)
class MaintenanceResult:
    """Days and messages that were archived, messages deleted by the policy, bytes of the database before and after."""

    days: int
    moved: int
    deleted: int
    before_bytes: int
    after_bytes: int

    def __str__(self) -> str:
        size = f"{self.before_bytes / 1e6:,.1f} MB → {self.after_bytes / 1e6:,.1f} MB"
        deleted = f", {self.deleted:,} deleted by the retention policy" if self.deleted else ""
        archived = f"{self.moved:,} messages of {self.days} days archived" if self.days else "no day to archive"
        return f"{archived}{deleted}; database {size}"


class Maintenance:
    """The steps for one database. Only one thread at a time may use it; transactions run in the writer's thread."""

    def __init__(self, database: Database, in_writer: InWriter, forwarded: Forwarded = lambda: None) -> None:
        self._database, self._in_writer, self._forwarded = database, in_writer, forwarded
        self._archive = Archive(database, in_writer)

    def run(self, policy: Policy, today: date, report: Report, day: date | None = None) -> MaintenanceResult:
        """Run all steps; archive the days that are over, or only `day`.

        Raises:
            InvalidRequest: the day is not over.
            ArchiveFailed: the disk is too full, or a file could not be written; nothing is lost, completed steps are kept.
            StorageError: the database failed.
        """
        if day is not None and day >= today:
            raise InvalidRequest(f"{day} is not over: only days before {today} (UTC) can be archived")
        before, failures = sum(self._database.file_sizes), list[str]()
        deleted = _attempt(lambda: self.enforce_floor(policy, today, report), failures)
        days = self._archive.closed_days(today, policy.live_days) if day is None else [day]
        moved = sum(_attempt(partial(self._archive.move, each, report), failures) for each in days)
        deleted += _attempt(lambda: self.purge(policy, today, report), failures)
        if worth_compacting(self._database, moved):
            _attempt(lambda: compact(self._database, self._in_writer, report)[1], failures)
        if failures:
            raise ArchiveFailed("; ".join(failures))
        return MaintenanceResult(len(days), moved, deleted, before, sum(self._database.file_sizes))

    def enforce_floor(self, policy: Policy, today: date, report: Report) -> int:
        """Delete early while free disk is below the policy's floor; return the number of messages.

        Raises:
            ArchiveFailed: a file could not be rewritten; it is unchanged.
            StorageError: the database failed.
        """
        if self._database.free_bytes >= policy.floor_bytes or not policy.deletes_anything:
            return 0
        return Purge(self._archive.files, policy, today, self._forwarded()).enforce_floor(report)

    def purge(self, policy: Policy, today: date, report: Report) -> int:
        """Delete what the policy no longer keeps, and more while free disk is below its floor; return the number of messages.

        Raises:
            ArchiveFailed: a file could not be rewritten; it is unchanged.
            StorageError: the database failed.
        """
        deleted = Purge(self._archive.files, policy, today, self._forwarded()).run(report) + self.enforce_floor(
            policy, today, report
        )
        for each in self._archive.days_with_means(today):
            self._archive.move_means(each)
        return deleted

    def restore(self, day: date, report: Report) -> int:
        """Restore a day from the archive; return the number of its messages.

        Raises:
            ArchiveFailed: it is not in the archive, or damaged.
            StorageError: the database failed.
        """
        return self._archive.restore(day, report)


class MaintenanceService:
    """Runs maintenance daily, and on request, in one thread with low priority. It reads the policy before each run.

    Nothing runs while the wall clock is unsteady: days that seem to be over may not be, and what is deleted is lost.

    `set_warning` is called with a text for the operator after a run that failed or could not free enough disk, else with None.
    """

    def __init__(
        self,
        database: Database,
        in_writer: InWriter,
        policy: Path,
        set_warning: Callable[[str | None], None],
        clock: WallClock,
        forwarded: Forwarded = lambda: None,
    ) -> None:
        self._database, self._policy, self._set_warning, self._clock = database, policy, set_warning, clock
        self._maintenance = Maintenance(database, in_writer, forwarded)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="maintenance", initializer=lower_priority)

    async def run_daily(self) -> None:
        """Run maintenance when a day is over, and while free disk is below the policy's floor, until cancelled."""
        last_day, next_s = datetime.min.replace(tzinfo=UTC).date(), 0.0
        while True:
            await asyncio.sleep(_CHECK_S)
            today, now_s = datetime.now(UTC).date(), time.monotonic()
            if self._clock.unsteady:
                continue
            if (today != last_day or self._is_disk_short()) and now_s >= next_s:
                last_day = today if await self._run_logged(today) else last_day
                next_s = time.monotonic() + (0 if today == last_day and not self._is_disk_short() else _RETRY_S)

    async def in_thread(self, work: Callable[[], str]) -> str:
        """Run `work` in the thread of the maintenance, after earlier work."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def run(self, today: date, day: date | None, report: Report) -> str:
        """Run all steps, for the days that are over or only `day`; return a summary. See `Maintenance.run`.

        Raises:
            ArchiveFailed: the clock took a step, so the date may be wrong; also what `Maintenance.run` raises.
        """
        if (reason := self._clock.unsteady) is not None:
            raise ArchiveFailed(f"{reason}: ask again then, or restart the recorder if the clock is right")
        return str(self._maintenance.run(read_policy(self._policy), today, report, day))

    def restore(self, day: date, report: Report) -> int:
        """See `Maintenance.restore`."""
        return self._maintenance.restore(day, report)

    def stop(self) -> None:
        """Start no more work. A running step, which may be interrupted anywhere, ends when the database is closed."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run_logged(self, today: date) -> bool:
        try:
            done = await self.in_thread(partial(self.run, today, None, lambda *_: None))
        except FAILURES as error:
            warning = f"the archive is not up to date: {first_line(error)}"
            log.error("maintenance-failed", "%(error)s", error=warning)
            self._set_warning(warning)
            return False
        log.info("maintenance-done", "%(done)s", done=done)
        self._set_warning(self._disk_warning())
        return True

    def _disk_warning(self) -> str | None:
        if not self._is_disk_short():
            return None
        warning = "free disk is below the floor of the retention policy, which allows no more deletions"
        log.warning("disk-low", "%(warning)s: free disk space, or keep less (SCAUP_RETENTION)", warning=warning)
        return warning

    def _is_disk_short(self) -> bool:
        with suppress(StorageError, OSError):  # the next run reports it
            return self._database.free_bytes < read_policy(self._policy).floor_bytes
        return False


def _attempt(step: Callable[[], int], failures: list[str]) -> int:
    try:
        return step()
    except ArchiveFailed as failure:
        failures.append(str(failure))
        return 0
