"""Migrating a closed database: `python -m storage.database.upgrade`, which `make up` runs before it starts a recorder.

A copy is migrated and then renamed over the database. So a migration that fails, and `kill -9` at any moment, leave the
database as it was. The database from before stays as `upgrade/before.duckdb`: the same file under another name, so nothing is
copied for it. `python -m storage.database.upgrade back` goes back to it.
"""

import fcntl
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

import duckdb

from broker.errors import BusError
from broker.runtime.settings import Settings
from storage.database.migrate import migrate, pending
from storage.database.opening import READERS_S, hold_lock, opening_error
from storage.errors import DatabaseLocked, DatabaseTooNew, StorageError, UpgradeFailed, first_line
from storage.files import sync_file, sync_folder, wal_path

FOLDER, BEFORE, AFTER = "upgrade", "before.duckdb", "after.duckdb"
GO_BACK = "python -m storage.database.upgrade back"
_NEW = "new.duckdb"
_CLONE = 0x40049409
"""FICLONE of Linux: a copy that shares its blocks with the original, at once, on file systems that can."""
_ROOM = 1.2
_LOOK_S = 0.2

Report = Callable[[str], None]


def upgrade(path: Path, report: Report) -> list[int]:
    """Migrate a database that no process has open; return the numbers of the migrations that were applied.

    Raises:
        DatabaseTooNew: it was written by a newer release.
        DatabaseLocked: a process has it open.
        UpgradeFailed: a migration failed, or the disk is too full; the database is unchanged.
        StorageError: it cannot be opened.
    """
    if not path.exists():
        return []
    lock = _hold(path)
    try:
        missing = _pending(path)
        if missing:
            _upgrade(path, missing, report)
        return missing
    finally:
        lock.close()


def go_back(path: Path) -> None:
    """Put the database from before the last upgrade back; the present one is kept beside it.

    Raises:
        UpgradeFailed: there is none.
        DatabaseLocked: a process has the database open.
    """
    folder = path.with_name(FOLDER)
    before, after = folder / BEFORE, folder / AFTER
    if not before.exists():
        raise UpgradeFailed(f"there is no {before}: no upgrade changed this database")
    with _hold(path):
        for old, kept in ((wal_path(path), wal_path(after)), (path, after)):
            with suppress(FileNotFoundError):
                old.replace(kept)
        before.replace(path)
        sync_folder(path.parent)


def _hold(path: Path) -> IO[str]:
    """Lock a database; an earlier upgrade that is about to end has a moment."""
    ends_s = time.monotonic() + READERS_S
    while True:
        try:
            return hold_lock(path)
        except DatabaseLocked as error:
            if time.monotonic() >= ends_s:
                held = str(error).rpartition(": ")[0]
                raise DatabaseLocked(f"{held}, which records into it or upgrades it: wait until it ends, or end it") from error
            time.sleep(0.2)


def _pending(path: Path) -> list[int]:
    """Return the missing migrations; the write-ahead log is in the file afterwards.

    Raises:
        DatabaseTooNew: the database was written by a newer release.
        StorageError: it cannot be opened.
    """
    try:
        with duckdb.connect(str(path), config={"storage_compatibility_version": "v1.5.0"}) as connection:
            return pending(connection)
    except DatabaseTooNew as error:
        if (before := path.with_name(FOLDER) / BEFORE).exists():
            raise DatabaseTooNew(f"{error}; `{GO_BACK}` goes back to {before}, without what was recorded since") from error
        raise
    except duckdb.Error as error:
        raise opening_error(path, error) from error


def _upgrade(path: Path, missing: list[int], report: Report) -> None:
    folder, size = path.with_name(FOLDER), path.stat().st_size
    new = folder / _NEW
    names = ", ".join(map(str, missing))
    report(f"migrating the database ({size / 1e6:,.0f} MB): {names}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        _remove(new)
        if wal_path(path).exists():
            raise UpgradeFailed(
                f"{wal_path(path)} cannot be moved into the database: start the release before, and stop it cleanly"
            )
        if (free := shutil.disk_usage(folder).free) < (needed := int(size * _ROOM)):
            raise UpgradeFailed(
                f"the upgrade needs {needed >> 20} MiB of disk, {free >> 20} MiB are free at {folder}: make room"
            )
        _copy(path, new)
        _migrate(new, missing)
        _remove(folder / BEFORE)
        (folder / BEFORE).hardlink_to(path)
        new.replace(path)
        sync_folder(path.parent)
    except (OSError, duckdb.Error) as error:
        raise UpgradeFailed(f"the upgrade failed: {first_line(error)}; the database is unchanged") from error
    finally:
        with suppress(OSError):
            _remove(new)
    report(f"migrated; {folder / BEFORE} is the database from before: remove it when all is well")


def _migrate(new: Path, missing: list[int]) -> None:
    with duckdb.connect(str(new), config={"storage_compatibility_version": "v1.5.0"}) as connection:
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        before = _messages(connection)
        for number in missing:
            try:
                migrate(connection, number)
            except duckdb.Error as error:
                raise UpgradeFailed(f"migration {number} failed: {first_line(error)}; the database is unchanged") from error
        if (after := _messages(connection)) != before:
            raise UpgradeFailed(f"{before:,} messages became {after:,}: the upgrade was given up, the database is unchanged")
        connection.execute("CHECKPOINT")
    if wal_path(new).exists():
        raise UpgradeFailed("the migrated database could not be closed: the upgrade was given up, the database is unchanged")
    sync_file(new)


def _messages(connection: duckdb.DuckDBPyConnection) -> int:
    live = connection.execute("SELECT 1 FROM duckdb_tables() WHERE schema_name = 'live' AND table_name = 'messages'").fetchall()
    table = "live.messages" if live else "messages"
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])  # noqa: S608 - one of two names


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as reading, target.open("wb") as writing:
        try:
            fcntl.ioctl(writing, _CLONE, reading.fileno())
        except OSError:
            shutil.copyfileobj(reading, writing, 1 << 22)


def _remove(path: Path) -> None:
    for each in (path, wal_path(path)):
        each.unlink(missing_ok=True)


def _end_with(parent: int, done: threading.Event) -> None:
    """End this process when its parent is killed: the database is unchanged, and the next `make up` need not wait."""
    while os.getppid() == parent:
        if done.wait(_LOOK_S):
            return
    os._exit(1)


def main(arguments: list[str]) -> int:
    """Upgrade the database of the settings, or go back; print why it cannot. Exit code 1: the release before can go on."""
    done = threading.Event()
    watch = threading.Thread(target=_end_with, args=(os.getppid(), done), daemon=True)
    watch.start()
    try:
        database = Settings.load().database
        if arguments == ["back"]:
            go_back(database)
            print(f"{database} is as before the upgrade: use the release before", file=sys.stderr)
        else:
            upgrade(database, lambda text: print(text, file=sys.stderr, flush=True))
    except (StorageError, BusError) as error:
        print(error)
        return 1 if isinstance(error, UpgradeFailed) else 3
    finally:
        done.set()
        watch.join()  # with a thread at the exit of Python, DuckDB's binding lists "leaked" objects on standard error
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
