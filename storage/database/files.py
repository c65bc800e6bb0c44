"""The database's files on disk: who holds them, what belongs to them, and how they become durable."""

import fcntl
import os
import re
from pathlib import Path
from typing import IO

import duckdb

from storage.errors import DatabaseLocked, StorageError


def hold_lock(path: Path) -> IO[str]:
    """Hold the place of a database's one writer until the returned file is closed, also while the database file is replaced.

    Raises:
        DatabaseLocked: another process holds it.
        StorageError: the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(path.name + ".lock").open("a+")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        holder = lock.read().strip()
        lock.close()
        raise _locked(path, holder) from error
    except OSError as error:
        raise opening_error(path, error) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def remove_leftovers(connection: duckdb.DuckDBPyConnection, archive: Path) -> None:
    """Remove the archive's files that are not complete, or no longer part of it. Files that nobody noted are left alone."""
    remove_unfinished(connection, archive)
    for (path,) in connection.execute("SELECT path FROM archive_file WHERE state = 'obsolete'").fetchall():
        (archive / path).unlink(missing_ok=True)
        connection.execute("DELETE FROM archive_file WHERE path = ? AND state = 'obsolete'", [path])


def remove_unfinished(connection: duckdb.DuckDBPyConnection, archive: Path) -> None:
    """Remove the archive's files that are noted as `writing`, complete or not."""
    for (path,) in connection.execute("SELECT path FROM archive_file WHERE state = 'writing'").fetchall():
        for file in (archive / path, part_path(archive / path)):
            file.unlink(missing_ok=True)
        connection.execute("DELETE FROM archive_file WHERE path = ? AND state = 'writing'", [path])


def part_path(path: Path) -> Path:
    """Return the name of a file while it is being written."""
    return path.with_name(path.name + ".part")


def wal_path(path: Path) -> Path:
    """Return the name of a database's write-ahead log."""
    return path.with_name(path.name + ".wal")


def sync_file(path: Path) -> None:
    """Make a file's content durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


sync_folder = sync_file
"""Make a folder's entries durable."""


def file_size(path: Path) -> int:
    """Return the size of a file in bytes, 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def opening_error(path: Path, error: Exception) -> StorageError:
    """Turn an error on opening a file into one that names the fix."""
    holder = re.search(r"PID (\d+)", str(error))
    if isinstance(error, duckdb.IOException) and "lock" in str(error).lower():
        return _locked(path, holder[1] if holder else "")
    return StorageError(f"{path} cannot be opened: {first_line(error)}")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text."""
    return str(error).strip().partition("\n")[0]


def _locked(path: Path, holder: str) -> DatabaseLocked:
    who = f"process {holder}" if holder else "another process"
    return DatabaseLocked(f"{path} is held by {who}: only one recorder may run on a database")
