"""What the storage does by itself once a day, and when it is asked to: archive, forget what is not kept, compact."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

from storage.database.database import Database
from storage.errors import ArchiveFailed, InvalidRequest
from storage.retention.archive import Archive, Tell
from storage.retention.compact import compact, worth_compacting
from storage.retention.policy import Policy
from storage.retention.purge import Retention


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
        """Make room if there is too little, archive the days that are over, or one of them, then forget and compact.

        A step that fails does not keep the others from being done.

        Raises:
            InvalidRequest: the day is not over.
            ArchiveFailed: the disk is too full, or a file could not be written; nothing is lost, what was done stays done.
            StorageError: the database failed.
        """
        if day is not None and day >= today:
            raise InvalidRequest(f"{day} is not over: only days before {today} (UTC) can be archived")
        before, failures = sum(self._database.file_sizes), list[str]()
        forgotten = _attempt(lambda: self.hold_floor(policy, today, tell), failures)
        days = self._archive.closed_days(today, policy.live_days) if day is None else [day]
        moved = sum(_attempt(partial(self._archive.move, each, tell), failures) for each in days)
        forgotten += _attempt(lambda: self.forget(policy, today, tell), failures)
        if worth_compacting(self._database, moved):
            _attempt(lambda: compact(self._database, self._in_writer, tell)[1], failures)
        if failures:
            raise ArchiveFailed("; ".join(failures))
        return Tidied(len(days), moved, forgotten, before, sum(self._database.file_sizes))

    def hold_floor(self, policy: Policy, today: date, tell: Tell) -> int:
        """Forget early what may be forgotten while free disk is below the policy's floor; return how many messages.

        Raises:
            ArchiveFailed: a file could not be rewritten; it stays.
            StorageError: the database failed.
        """
        if self._database.free_bytes >= policy.floor_bytes or not policy.forgets:
            return 0
        return Retention(self._archive, policy, today).hold_floor(tell)

    def forget(self, policy: Policy, today: date, tell: Tell) -> int:
        """Forget what the policy does not keep, and more where the disk is nearly full; return how many messages.

        Raises:
            ArchiveFailed: a file could not be rewritten; it stays.
            StorageError: the database failed.
        """
        forgotten = Retention(self._archive, policy, today).forget(tell) + self.hold_floor(policy, today, tell)
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


def _attempt(step: Callable[[], int], failures: list[str]) -> int:
    try:
        return step()
    except ArchiveFailed as failure:
        failures.append(str(failure))
        return 0
