"""Restoring a backup into an empty data directory.

Everything is put together in the folder `restoring`. When it is complete, it is moved out, the database last. A restore that is
interrupted before that begins again, one that is interrupted later goes on. No recorder starts while the folder is there.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb

from broker.contract.sql import identifier
from storage.backup.folder import ARCHIVE, check
from storage.backup.manifest import Manifest
from storage.database.migrate import migrate
from storage.database.opening import restoring
from storage.errors import BackupFailed, first_line
from storage.files import sync_file, sync_folder
from storage.schema.views import read_files

_COMPLETE = "complete"
_NEW_SESSION = "INSERT INTO mqtt_session SELECT coalesce(max(session), 0) + 1, now() FROM mqtt_session"
"""A broker that still has the session may repeat packet identifiers that were used since the backup: none is recognised."""
_HARMLESS = {"lifecycle.lock", "lost+found"}
_ROOM = 1.1
"""Free disk that is asked for, relative to the estimated size."""
_GROWTH = 4
"""Estimate of the size of rows in the database, relative to that in Parquet."""

Report = Callable[[str, int, int], None]
AlsoRestore = Callable[[Path], None]
"""Adds to the folder with the restored database before it becomes the data directory."""


def restore(folder: Path, database: Path, report: Report, also: AlsoRestore = lambda _: None) -> Manifest:
    """Restore a backup; `database` is where its database file will be, in an empty data directory.

    Raises:
        BackupFailed: the backup is not whole, the data directory is not empty, or the disk is too full.
    """
    target = restoring(database)
    manifest = check(folder, report)
    try:
        if database.exists() and target.is_dir() and not any(target.iterdir()):  # interrupted at the very end
            target.rmdir()
            return manifest
        if not (target / _COMPLETE).exists():
            _refuse_what_is_there(database.parent)
            shutil.rmtree(target, ignore_errors=True)
            _check_room(database.parent, manifest)
            target.mkdir(mode=0o700, parents=True)
            _fill(folder, manifest, target / database.name, report)
            also(target)
            (target / _COMPLETE).touch()
            _sync(target)
        _move_out(target, database)
    except (OSError, duckdb.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else first_line(error)
        raise BackupFailed(f"the backup could not be restored: {reason or error}; repeat `scaup restore`") from error
    return manifest


def _refuse_what_is_there(data_dir: Path) -> None:
    there = sorted(each.name for each in data_dir.iterdir()) if data_dir.is_dir() else []
    others = [name for name in there if name not in (*_HARMLESS, "restoring")]
    if others:
        raise BackupFailed(f"{data_dir} is not empty, it has {others[0]}; name an empty or new folder with SCAUP_DATA_DIR")


def _check_room(data_dir: Path, manifest: Manifest) -> None:
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    parts = sum(each.bytes for each in manifest.parts)
    needed = _ROOM * (manifest.size + (_GROWTH - 1) * parts)
    if (free := shutil.disk_usage(data_dir).free) < needed:
        raise BackupFailed(
            f"restoring may take {int(needed) >> 20} MiB of disk, {free >> 20} MiB are free at {data_dir}; make room"
        )


def _fill(folder: Path, manifest: Manifest, database: Path, report: Report) -> None:
    target = database.parent
    for copy in manifest.files:
        (target / copy.path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copyfile(folder / copy.file, target / copy.path)
        (target / copy.path).chmod(copy.mode)
    for done, archived in enumerate(manifest.archive):
        report("restoring the archive", done, len(manifest.archive))
        path = target / ARCHIVE / archived.path
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / archived.file, path)
    with duckdb.connect(str(database), config={"storage_compatibility_version": "v1.5.0"}) as connection:
        _fill_database(folder, manifest, connection, report)


def _fill_database(folder: Path, manifest: Manifest, connection: duckdb.DuckDBPyConnection, report: Report) -> None:
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    migrate(connection, max(manifest.migrations))
    known = {number for (number,) in connection.execute("SELECT number FROM schema_migration").fetchall()}
    if known != set(manifest.migrations):
        raise BackupFailed(
            f"the backup has migration {max(manifest.migrations)}, this release knows {max(known)}; upgrade Scaup, then repeat"
        )
    connection.execute("DELETE FROM schema_migration")
    for done, part in enumerate(manifest.parts):
        report("restoring the database", done, len(manifest.parts))
        order = " ORDER BY number" if part.numbered else ""
        table = f"{identifier(part.schema)}.{identifier(part.table)}"
        source = read_files([folder / part.file])
        ((rows,),) = connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM {source}{order}").fetchall()
        if rows != part.rows:
            raise BackupFailed(f"{part.file} gave {rows:,} rows, it should have {part.rows:,}")
    connection.execute(_NEW_SESSION)
    connection.execute("CHECKPOINT")


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        if path.is_file():
            sync_file(path)
        elif path.is_dir():
            sync_folder(path)


def _move_out(target: Path, database: Path) -> None:
    """Move everything to the data directory, the database last."""
    entries = sorted(target.iterdir(), key=lambda each: (each.name == database.name, each.name))
    for entry in entries:
        if entry.name != _COMPLETE:
            entry.rename(database.parent / entry.name)
    sync_folder(database.parent)
    shutil.rmtree(target)
    sync_folder(database.parent)
