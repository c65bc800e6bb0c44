"""Errors of the storage.

StorageError
├── DatabaseMissing  there is no database file
├── DatabaseLocked   another process has the database open; the text names it
├── DatabaseTooNew   the database was written by a newer release
├── NoSpace          there is too little free disk to commit safely
├── InvalidPolicy    the retention policy cannot be read
├── ArchiveFailed    a day could not be archived, restored or compacted; everything is as before
├── OutboxFailed     a range of messages could not be written for the lake; nothing is lost
├── BackupFailed     a backup could not be made, checked or restored; the text names the fix
├── UpgradeFailed    the database could not be migrated; it is unchanged
├── InvalidRequest   a request to the storage cannot be carried out as it stands
└── QueryFailed      a query was refused, wrong, stopped or failed; `error` is what its client receives
"""

from broker.contract.storage.topics import QueryError


class StorageError(Exception):
    """Root of every error of the storage."""


class DatabaseMissing(StorageError):
    """There is no database file: nothing was recorded yet, or the data directory is another one."""


class DatabaseLocked(StorageError):
    """Another process has the database file open."""


class DatabaseTooNew(StorageError):
    """The database has migrations that this release does not know."""


class NoSpace(StorageError):
    """Free disk is below the limit; nothing is committed or acknowledged until there is more."""


class InvalidPolicy(StorageError):
    """The retention policy cannot be read; the text names the line and the reason."""


class ArchiveFailed(StorageError):
    """A day could not be archived or restored, or the database not be compacted. The recorded data is unchanged."""


class OutboxFailed(StorageError):
    """A range of messages could not be written for the lake. It is in the database, and is written later."""


class BackupFailed(StorageError):
    """A backup could not be made, checked or restored. An earlier backup, and the recorded data, are unchanged."""


class UpgradeFailed(StorageError):
    """The database could not be migrated; it is as before."""


class InvalidRequest(StorageError):
    """A request to the storage cannot be carried out as it stands; the text names the fix."""


class QueryFailed(StorageError):
    """A query that has no complete answer."""

    def __init__(self, error: QueryError) -> None:
        super().__init__(error.message)
        self.error = error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text."""
    return str(error).strip().partition("\n")[0]
