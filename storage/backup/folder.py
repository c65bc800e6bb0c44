"""The folder of a backup.

    backup.json   the manifest: what belongs to the backup, with digests
    database/     rows of the database, in Parquet
    archive/      files of the archive
    files/        other files of the data directory

A file's name ends with its digest, and it is complete when it has this name. Only files that the manifest lists count. A run
adds files, replaces the manifest, and then removes files that no manifest lists. So a run that is killed leaves the earlier
backup.
"""

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from broker.contract.storage.topics import HeldPart
from storage.backup.manifest import (
    MANIFEST,
    FileCopy,
    Manifest,
    Part,
    Snapshot,
    Stored,
    file_digest,
    mark_sql,
    read_manifest,
    write_manifest,
)
from storage.errors import BackupFailed, first_line
from storage.files import file_size, part_path, sync_file, sync_folder
from storage.schema.views import read_files

DATABASE, ARCHIVE, FILES = "database", "archive", "files"
_LOCK = ".lock"
_OURS = {MANIFEST, DATABASE, ARCHIVE, FILES, _LOCK, part_path(Path(MANIFEST)).name, "lost+found"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did: the new manifest, the number and bytes of the files that it wrote, and of those it linked."""

    manifest: Manifest
    written: int
    written_bytes: int
    linked: int


@contextmanager
def locked(file: Path, text: str) -> Iterator[None]:
    """Hold a lock file for the time of a `with` block.

    Raises:
        BackupFailed: another process holds it; `text` says so.
    """
    with file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BackupFailed(text) from error
        yield


class BackupFolder:
    """A folder that has, or gets, one backup."""

    def __init__(self, path: Path, data_dir: Path) -> None:
        """Make the folder if there is none.

        Raises:
            BackupFailed: it cannot be used: it lies in the data directory or holds something else.
        """
        self.path = path.resolve()
        self._written: dict[str, int] = {}
        self._linked: set[str] = set()
        data_dir = data_dir.resolve()
        if self.path.is_relative_to(data_dir) or data_dir.is_relative_to(self.path):
            raise BackupFailed(f"{path} and the data directory {data_dir} lie in each other; choose a folder on another disk")
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            others = sorted({each.name for each in self.path.iterdir()} - _OURS)
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise BackupFailed(
                f"{path} cannot be used: {error.strerror}; choose a folder that this user may write to"
            ) from error
        if others and not (self.path / MANIFEST).exists():
            raise BackupFailed(f"{path} has {others[0]} in it and is no backup; choose a new or empty folder")

    @contextmanager
    def in_use(self) -> Iterator[Manifest | None]:
        """Keep other runs out of the folder, and return the backup that it has.

        Raises:
            BackupFailed: another run is using it, or its manifest cannot be read.
        """
        with locked(self.path / _LOCK, f"another backup to {self.path} is running; wait for it, or use another folder"):
            yield read_manifest(self.path)

    def held(self, before: Manifest | None) -> tuple[HeldPart, ...]:
        """Return what a backup has of the database; files that are missing or cut off do not count, and are written again."""
        parts = before.parts if before else ()
        return tuple(each.held for each in parts if each.numbered and damage(self.path / each.file, each, read=False) is None)

    def take_parts(self, staging: Path) -> None:
        """Take what is complete of the rows in a staging folder, which makes room there.

        Raises:
            BackupFailed: a file cannot be written; the earlier backup holds.
        """
        with self._writing():
            for source in sorted(staging.glob("*.parquet")):
                self._take(source, f"{DATABASE}/{source.name}")

    def finish(
        self, snapshot: Snapshot, before: Manifest | None, staging: Path, files: dict[str, Path], release: str
    ) -> Outcome:
        """Take the rest, verify what is new by reading it back, and make it the backup.

        Args:
            snapshot: what the database gave; its files are in `staging`.
            before: the backup that the snapshot was made against.
            staging: the folder of the snapshot.
            files: further files: the path in the backup → where it is.
            release: the version of this release.

        Raises:
            BackupFailed: a file is missing, was changed meanwhile or cannot be written; the earlier backup holds.
        """
        self.take_parts(staging)
        with self._writing():
            return self._finish(snapshot, before, staging, files, release)

    def _finish(
        self, snapshot: Snapshot, before: Manifest | None, staging: Path, files: dict[str, Path], release: str
    ) -> Outcome:
        had = {each.held: each for each in before.parts} if before else {}
        new = [_replace_file(each, f"{DATABASE}/{each.file}") for each in snapshot.parts]
        for copy in snapshot.archive:
            if file_size(self.path / copy.file) != copy.bytes:
                self._take(staging / copy.file, copy.file)
        manifest = Manifest(
            format=1,
            release=release,
            database=snapshot.database,
            number=snapshot.number,
            at=snapshot.at,
            migrations=snapshot.migrations,
            messages=snapshot.messages,
            archived=snapshot.archived,
            expired=snapshot.expired,
            parts=tuple(sorted([*(had[each] for each in snapshot.kept), *new], key=lambda each: (each.table, each.first))),
            archive=snapshot.archive,
            files=tuple(self._store(path, source) for path, source in sorted(files.items()) if source.exists()),
        )
        for stored in manifest.stored:
            self._verify(stored, stored.file in self._written or stored.file in self._linked)
        for folder in (DATABASE, ARCHIVE, FILES):
            for each in [self.path / folder, *(self.path / folder).rglob("*/")]:
                if each.is_dir():
                    sync_folder(each)
        manifest = write_manifest(self.path, manifest)
        self._remove_others({each.file for each in manifest.stored})
        used = {name: size for name, size in self._written.items() if (self.path / name).exists()}
        return Outcome(manifest, len(used), sum(used.values()), len(self._linked))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn errors of the disk into those of a backup."""
        try:
            yield
        except FileNotFoundError as error:
            text = f"{error.filename} is not there any more: the recorder was restarted meanwhile"
            raise BackupFailed(f"{text}; repeat the command") from error
        except OSError as error:
            reason = error.strerror or str(error)
            text = f"the backup could not be written to {self.path}: {reason}"
            raise BackupFailed(f"{text}; make room there, or choose another disk; an earlier backup is whole") from error

    def _take(self, source: Path, name: str) -> None:
        """Move a complete file into the folder: by renaming where that is possible, else by copying."""
        target = self.path / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        size = source.stat().st_size
        if target.exists() and target.stat().st_size == size:  # its name has its digest
            source.unlink()
            return
        shared = source.stat().st_nlink > 1
        try:
            source.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _copy(source, target, 0o600)
            source.unlink()
            shared = False
        if shared:
            self._linked.add(name)
        else:
            target.chmod(0o600)
            self._written[name] = size

    def _store(self, path: str, source: Path) -> FileCopy:
        """Copy a small file, unless the folder has this content."""
        content, mode = source.read_bytes(), stat.S_IMODE(source.stat().st_mode)
        copy = self.path / FILES / path
        temporary = part_path(copy)
        temporary.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(temporary, content, mode)
        digest = file_digest(temporary)
        name = f"{FILES}/{path}-{digest[:12]}"
        target = self.path / name
        if target.exists() and file_size(target) == len(content) and stat.S_IMODE(target.stat().st_mode) == mode:
            temporary.unlink()
        else:
            temporary.replace(target)
            self._written[name] = len(content)
        return FileCopy(path, name, mode, len(content), digest)

    def _verify(self, stored: Stored, read: bool) -> None:
        path = self.path / stored.file
        if (reason := damage(path, stored, read)) is not None:
            raise BackupFailed(f"{path} {reason}; repeat the command, or begin in another folder")

    def _remove_others(self, listed: set[str]) -> None:
        for folder in (DATABASE, ARCHIVE, FILES):
            for path in sorted((self.path / folder).rglob("*"), reverse=True):
                if path.is_dir():
                    with suppress(OSError):  # it is not empty
                        path.rmdir()
                elif str(path.relative_to(self.path)) not in listed:
                    path.unlink(missing_ok=True)


def damage(path: Path, stored: Stored, read: bool = True) -> str | None:
    """Return what is wrong with a file of a backup, None if nothing is. `read`: compare its content, not only its size."""
    if not path.is_file():
        return "is missing"
    if path.stat().st_size != stored.bytes:
        return f"has {path.stat().st_size:,} bytes instead of {stored.bytes:,}"
    if read and file_digest(path) != stored.sha256:
        return "is damaged (its SHA-256 differs)"
    return None


def check(folder: Path, report: Callable[[str, int, int], None]) -> Manifest:
    """Check a backup without restoring it: every file, its digest, and the rows in it.

    Raises:
        BackupFailed: there is none, or it is not whole; the text names every file that is missing or damaged.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise BackupFailed(f"there is no backup in {folder}; `scaup backup {folder}` makes one")
    wrong = []
    for done, stored in enumerate(manifest.stored):
        report("checking", done, len(manifest.stored))
        try:
            reason = damage(folder / stored.file, stored) or _wrong_rows(folder / stored.file, stored)
        except OSError as error:
            reason = f"cannot be read: {error.strerror}"
        if reason is not None:
            wrong.append(f"{stored.file} {reason}")
    if wrong:
        raise BackupFailed(f"{folder} is not whole:\n  " + "\n  ".join(wrong))
    rows = sum(each.rows for each in manifest.parts if each.table == "messages")
    if rows != manifest.messages:
        raise BackupFailed(f"{folder} is not whole: it has {rows:,} of {manifest.messages:,} messages of the database")
    return manifest


def _wrong_rows(path: Path, stored: Stored) -> str | None:
    if not isinstance(stored, Part):
        return None
    try:
        with duckdb.connect() as connection:
            found = connection.execute(f"SELECT count(*), {mark_sql(stored.numbered)} FROM {read_files([path])}").fetchall()[0]
    except duckdb.Error as error:
        return f"cannot be read: {first_line(error)}"
    return None if found == (stored.rows, stored.mark) else f"has {found[0]:,} rows, or others, instead of {stored.rows:,}"


def _replace_file(part: Part, file: str) -> Part:
    return Part(part.schema, part.table, part.first, part.last, part.rows, part.mark, file, part.bytes, part.sha256)


def _copy(source: Path, target: Path, mode: int) -> None:
    """Copy a file so that the target is complete and durable, or not there."""
    temporary = part_path(target)
    try:
        with source.open("rb") as reading, open(temporary, "wb", opener=_private) as writing:
            shutil.copyfileobj(reading, writing, 1 << 20)
        temporary.chmod(mode)
        sync_file(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _write(path: Path, content: bytes, mode: int) -> None:
    with open(path, "wb", opener=_private) as writing:
        writing.write(content)
    path.chmod(mode)
    sync_file(path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
