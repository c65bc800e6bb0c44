"""The contents of a backup: a list of files that never change, each with its digest.

`Snapshot` is what one look at a database gives: rows of its tables in Parquet files, and the files of its archive.
`Manifest` adds the other files of the data directory. It is the one file of a backup that is replaced, by renaming.
"""

import hashlib
from datetime import datetime
from pathlib import Path

import msgspec

from broker.contract.storage.topics import HeldPart
from storage.errors import BackupFailed
from storage.files import part_path, sync_file, sync_folder

MANIFEST = "backup.json"
FORMAT = 1


class Part(msgspec.Struct, frozen=True):
    """Rows of one table in a Parquet file: those of the messages `first` to `last`, or all where rows have no number (0).

    `mark` is the exclusive or of the rows' message numbers and times of arrival (µs). With `rows` it shows whether the database
    still has these rows.
    """

    schema: str
    table: str
    first: int
    last: int
    rows: int
    mark: int
    file: str
    bytes: int
    sha256: str

    @property
    def held(self) -> HeldPart:
        """What the recorder has to know of it to leave it out of the next snapshot."""
        return HeldPart(self.table, self.first, self.last, self.rows, self.mark)

    @property
    def numbered(self) -> bool:
        """Whether its rows have message numbers."""
        return self.first > 0


class ArchiveCopy(msgspec.Struct, frozen=True):
    """A file of the archive: its path there, and the copy in the backup."""

    path: str
    file: str
    bytes: int
    sha256: str


class FileCopy(msgspec.Struct, frozen=True):
    """Another file: its path in the data directory, its mode, and the copy in the backup."""

    path: str
    file: str
    mode: int
    bytes: int
    sha256: str


Stored = Part | ArchiveCopy | FileCopy


class Snapshot(msgspec.Struct, frozen=True):
    """The database up to the message `number`: `parts` were written now, `kept` are in the backup already.

    `database` names it by when it was made. `messages` counts the rows of `messages` in it, `archived` those in the archive,
    `expired` what the retention policy deleted: together `number`.
    """

    token: str
    database: str
    number: int
    at: datetime
    migrations: tuple[int, ...]
    messages: int
    archived: int
    expired: int
    parts: tuple[Part, ...]
    kept: tuple[HeldPart, ...]
    archive: tuple[ArchiveCopy, ...]


class Manifest(msgspec.Struct, frozen=True):
    """A whole backup. `digest` is that of the manifest itself, without the digest."""

    format: int
    release: str
    database: str
    number: int
    at: datetime
    migrations: tuple[int, ...]
    messages: int
    archived: int
    expired: int
    parts: tuple[Part, ...]
    archive: tuple[ArchiveCopy, ...]
    files: tuple[FileCopy, ...]
    digest: str = ""

    @property
    def stored(self) -> tuple[Stored, ...]:
        """Every file of the backup."""
        return (*self.parts, *self.archive, *self.files)

    @property
    def size(self) -> int:
        """The size of all files together, in bytes."""
        return sum({each.file: each.bytes for each in self.stored}.values())


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a backup, None if there is none.

    Raises:
        BackupFailed: it cannot be read, was changed, or is that of a newer release.
    """
    path = folder / MANIFEST
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise BackupFailed(
            f"{path} cannot be read: {error}; bring it back from a copy, or begin a backup in another folder"
        ) from error
    if manifest.format > FORMAT:
        raise BackupFailed(f"{folder} was written by release {manifest.release}, which is newer than this one; upgrade Scaup")
    if manifest.digest != _digest(manifest):
        raise BackupFailed(f"{path} was changed after it was written; bring it back from a copy")
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Replace the manifest of a backup, durably, and return it with its digest: from now on this is the backup.

    Raises:
        OSError: it cannot be written; the earlier backup holds.
    """
    path = folder / MANIFEST
    signed = msgspec.structs.replace(manifest, digest=_digest(manifest))
    part_path(path).write_bytes(msgspec.json.format(msgspec.json.encode(signed)) + b"\n")
    sync_file(part_path(path))
    part_path(path).replace(path)
    sync_folder(folder)
    return signed


def mark_sql(numbered: bool) -> str:
    """Return the SQL expression for the mark of rows, 0 where they have no numbers."""
    return "coalesce(bit_xor(xor(number, epoch_us(received_at))), 0)" if numbered else "0"


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(manifest: Manifest) -> str:
    return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(manifest, digest=""))).hexdigest()
