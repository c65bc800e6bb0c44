"""Opening the database file: one writer, its configuration, its schema, and the removal of what a crash left behind."""

import fcntl
import os
import re
import shutil
import time
from pathlib import Path
from typing import IO, Any

import duckdb

from broker.contract.outbox import OUTBOX
from broker.contract.sql import literal
from broker.log import Log
from storage.database.cursors import close_connection
from storage.database.migrate import migrate
from storage.errors import DatabaseLocked, StorageError, first_line
from storage.files import part_path
from storage.schema.views import define_views, last_number

log = Log(__name__)

READERS_S = 10.0
"""How long a recorder waits for processes that read the database."""
_READERS_PAUSE_S = 0.1
_PROBE_S = 0.2


def hold_lock(path: Path) -> IO[str]:
    """Lock a database for its one writer until the returned file is closed, even while the database file is replaced.

    Raises:
        DatabaseLocked: another process holds the lock.
        StorageError: the folder cannot be written to, or holds a restore that was interrupted.
    """
    if restoring(path).exists():
        raise StorageError(f"{restoring(path)} is left of a restore that was interrupted: repeat `scaup restore FOLDER`")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _lock_path(path).open("a+")
        _lock_exclusively(lock)
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


def refuse_beside_writer(path: Path) -> None:
    """Check that no recorder holds the lock of a database, or is about to open it.

    Raises:
        DatabaseLocked: one does.
    """
    try:
        with _lock_path(path).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _locked(path, _lock_path(path).read_text().strip()) from error
    except OSError:  # no recorder has been there, or this user may not know
        return


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _lock_exclusively(lock: IO[str]) -> None:
    """Lock a file, and try for a moment: a reader that looks for a recorder holds the lock for as long.

    Raises:
        BlockingIOError: another process has it locked.
    """
    ends_s = time.monotonic() + _PROBE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= ends_s:
                raise
            time.sleep(_PROBE_S / 10)
        else:
            return


def open_for_writing(path: Path, archive: Path, compacting: Path, memory_mb: int) -> tuple[duckdb.DuckDBPyConnection, int]:
    """Open a database, create it if there is none, bring its schema up to date and lock its configuration.

    Return the connection, and the number of the last message in the database, 0 before the first.

    Args:
        path: the database file.
        archive: the folder of its archive; files in it that a crash left incomplete are removed.
        compacting: the folder in which the file is compacted; it is removed.
        memory_mb: memory of the database in MiB, all queries together included.

    Raises:
        DatabaseLocked: another process has it open.
        DatabaseTooNew: it was written by a newer release.
        StorageError: it cannot be opened.
    """
    config: dict[str, Any] = {
        "storage_compatibility_version": "v1.5.0",  # the oldest supported DuckDB can open the file too
        "checkpoint_threshold": "128MB",  # a checkpoint delays commits by 0.3 s, every 20 s under full load
        "memory_limit": f"{memory_mb}MiB",
        "temp_directory": "",  # queries that do not fit in memory are stopped: they do not fill the disk
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "python_enable_replacements": False,
    }
    for leftover in (compacting, backing_up(path)):
        shutil.rmtree(leftover, ignore_errors=True)
    connection = _connect(path, config)
    try:
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        migrate(connection)
        _remove_leftovers(connection, archive)
        define_views(connection, archive)
        number = last_number(connection)
        restrict_access(connection, archive, compacting, backing_up(path), path.with_name(OUTBOX))
    except (duckdb.Error, OSError) as error:
        close_connection(connection)
        raise opening_error(path, error) from error
    except StorageError:
        close_connection(connection)
        raise
    return connection, number


def restoring(path: Path) -> Path:
    """Return the folder in which a backup is restored, until it is complete."""
    return path.with_name("restoring")


def backing_up(path: Path) -> Path:
    """Return the folder in which a database's next backup is written, until it is collected."""
    return path.with_name("backing-up")


def _connect(path: Path, config: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    """Open a database, and wait for those who read it: they give way when they see the lock of this process.

    Raises:
        DatabaseLocked: another process still has it open after `READERS_S`.
        StorageError: it cannot be opened.
    """
    ends_s, reported = time.monotonic() + READERS_S, ""
    while True:
        try:
            return duckdb.connect(str(path), config=config)
        except duckdb.Error as error:
            found = opening_error(path, error)
            if not isinstance(found, DatabaseLocked):
                raise found from error
            held = str(found).rpartition(": ")[0]
            if time.monotonic() >= ends_s:
                raise DatabaseLocked(f"{held}, which is no recorder, but reads it: end that process") from error
            if held != reported:
                log.warning(
                    "database-held", "%(holder)s, which reads it: waiting up to %(limit_s)g s", holder=held, limit_s=READERS_S
                )
                reported = held
            time.sleep(_READERS_PAUSE_S)


def restrict_access(connection: duckdb.DuckDBPyConnection, *folders: Path) -> None:
    """Deny every connection to this database all settings, and all files outside `folders`."""
    allowed = ", ".join(literal(f"{folder}/") for folder in folders)
    connection.execute(f"SET allowed_directories = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def remove_unfinished(connection: duckdb.DuckDBPyConnection, archive: Path) -> None:
    """Remove the archive's files that are listed as `writing`, complete or not."""
    for (path,) in connection.execute("SELECT path FROM archive_file WHERE state = 'writing'").fetchall():
        for file in (archive / path, part_path(archive / path)):
            file.unlink(missing_ok=True)
        connection.execute("DELETE FROM archive_file WHERE path = ? AND state = 'writing'", [path])


def _remove_leftovers(connection: duckdb.DuckDBPyConnection, archive: Path) -> None:
    """Remove the archive's files that are incomplete or replaced. Files that the database does not list are left alone."""
    remove_unfinished(connection, archive)
    for (path,) in connection.execute("SELECT path FROM archive_file WHERE state = 'obsolete'").fetchall():
        (archive / path).unlink(missing_ok=True)
        connection.execute("DELETE FROM archive_file WHERE path = ? AND state = 'obsolete'", [path])


def opening_error(path: Path, error: Exception) -> StorageError:
    """Turn an error on opening a file into one that names the fix."""
    holder = re.search(r"PID (\d+)", str(error))
    if isinstance(error, duckdb.IOException) and "lock" in str(error).lower():
        return _locked(path, holder[1] if holder else "")
    return StorageError(f"{path} cannot be opened: {first_line(error)}")


def _locked(path: Path, holder: str) -> DatabaseLocked:
    process = f"process {holder}" if holder else "another process"
    return DatabaseLocked(f"{path} is held by {process}: only one recorder may run on a database")
