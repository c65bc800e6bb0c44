"""Errors of the storage.

StorageError
├── DatabaseMissing  there is no database file
├── DatabaseLocked   another process has the database open; the text says which
├── DatabaseTooNew   the database was written by a newer release
├── NoSpace          there is too little free disk to commit safely
├── InvalidPolicy    the retention policy cannot be read
├── ArchiveFailed    a day could not be archived, restored or compacted; everything is as before
├── InvalidRequest   what is asked of the storage cannot be done as asked
└── QueryFailed      a query was refused, wrong, stopped or failed; `error` is what the asker is told
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
    """Free disk is below the floor; nothing is committed or acknowledged until there is more."""


class InvalidPolicy(StorageError):
    """The retention policy cannot be read; the text says which line and why."""


class ArchiveFailed(StorageError):
    """A day could not be archived or restored, or the database not be compacted. What is recorded is as it was before."""


class InvalidRequest(StorageError):
    """What is asked of the storage cannot be done as asked; the text says how it can."""


class QueryFailed(StorageError):
    """A query that has no complete answer."""

    def __init__(self, error: QueryError) -> None:
        super().__init__(error.message)
        self.error = error
