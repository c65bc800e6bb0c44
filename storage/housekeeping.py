"""What the storage does by itself once a day, and when it is asked to: archive, forget what is not kept, compact."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from storage.archive import Archive, Tell
from storage.commit import Database
from storage.compact import compact, worth_compacting
from storage.errors import InvalidRequest
from storage.forget import Retention
from storage.retention import Policy


@dataclass(frozen=True, slots=True)
class Tidied:
    """What was done: days and messages that were archived, messages forgotten, bytes of the database before and after."""

    days: int
    moved: int
    forgotten: int
    before_bytes: int
    after_bytes: int

    def __str__(self) -> str:
        size = f"{self.before_bytes / 1e6:,.1f} MB → {self.after_bytes / 1e6:,.1f} MB"
        forgotten = f", {self.forgotten:,} forgotten by the policy" if self.forgotten else ""
        archived = f"{self.moved:,} messages of {self.days} days archived" if self.days else "no day to archive"
        return f"{archived}{forgotten}; database {size}"


class Housekeeping:
    """Keeps one database and its archive as the policy says. One thread at a time may use it; transactions are the writer's."""

    def __init__(self, database: Database, in_writer: Callable[[Callable[[], Any]], Any]) -> None:
        self._database, self._in_writer = database, in_writer
        self._archive = Archive(database, in_writer)

    def tidy(self, policy: Policy, today: date, tell: Tell, day: date | None = None) -> Tidied:
        """Archive the days that are over, or one of them, then forget and compact.

        Raises:
            InvalidRequest: the day is not over.
            ArchiveFailed: the disk is too full, or a file could not be written; nothing is lost, what was done stays done.
            StorageError: the database failed.
        """
        if day is not None and day >= today:
            raise InvalidRequest(f"{day} is not over: only days before {today} (UTC) can be archived")
        days = self._archive.closed_days(today, policy.live_days) if day is None else [day]
        before = sum(self._database.file_sizes)
        moved = sum(self._archive.move(each, tell) for each in days)
        forgotten = self.forget(policy, today, tell)
        if worth_compacting(self._database, moved):
            compact(self._database, self._in_writer, tell)
        return Tidied(len(days), moved, forgotten, before, sum(self._database.file_sizes))

    def forget(self, policy: Policy, today: date, tell: Tell) -> int:
        """Forget what the policy does not keep, and more where the disk is nearly full; return how many messages.

        Raises:
            ArchiveFailed: a file could not be rewritten; it stays.
            StorageError: the database failed.
        """
        retention = Retention(self._archive, policy, today)
        forgotten = retention.forget(tell)
        if self._database.free_bytes < policy.floor_bytes:
            forgotten += retention.hold_floor(tell)
        for each in self._archive.days_with_means(today):
            self._archive.move_means(each)
        return forgotten

    def restore(self, day: date, tell: Tell) -> int:
        """Bring a day back from the archive; return how many messages it has.

        Raises:
            ArchiveFailed: it is not there, or damaged.
            StorageError: the database failed.
        """
        return self._archive.restore(day, tell)
