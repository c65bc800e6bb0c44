"""The files of the archive: written, verified, listed in the database, and removed when nothing reads them any more.

Every step can be interrupted by a crash. A file is listed as `writing` before its first byte is written. It is complete,
durable, read back and compared before one transaction lists it as `archived`, which makes it part of the views. Files that the
transaction replaces are listed as `obsolete`, and removed when no query can read them any more. Files that a crash leaves in
state `writing` or `obsolete` are removed when the database is next opened (`storage/database/opening.py`).
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from duckdb import DuckDBPyConnection, Error

from broker.contract.sql import literal
from storage.database.database import Database
from storage.database.opening import remove_unfinished
from storage.errors import ArchiveFailed, StorageError, first_line
from storage.files import part_path, sync_file, sync_folder
from storage.schema.views import define_views, read_files, tables

T = TypeVar("T")

READERS_END_S = 70.0
"""Time for queries that may read an obsolete file to end: longer than any query may take."""
InWriter = Callable[[Callable[[], Any]], Any]
"""Runs a function in the thread that writes to the database, and returns its result."""


@dataclass(frozen=True, slots=True)
class ArchivePart:
    """The rows of one day whose messages have numbers from `first` to `last`."""

    day: date
    first: int
    last: int

    @property
    def condition(self) -> str:
        """The SQL condition for the rows of a live table that belong to the part."""
        return f"number BETWEEN {self.first} AND {self.last} AND {within(self.day)}"

    def halves(self) -> "tuple[ArchivePart, ArchivePart]":
        """Return the parts with the first and the second half of the numbers."""
        middle = (self.first + self.last) // 2
        return ArchivePart(self.day, self.first, middle), ArchivePart(self.day, middle + 1, self.last)


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """One Parquet file of the archive with rows of `table`, written or not; `path` is relative to the archive's folder."""

    path: str
    table: str
    part: ArchivePart
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A complete file with the number of its rows and bytes, and its digest."""

    file: ArchiveFile
    rows: int
    size: int
    sha256: str


class ArchiveFiles:
    """The files of one archive. They are read and written in the calling thread, transactions run in the writer's."""

    def __init__(self, database: Database, in_writer: InWriter) -> None:
        self.database, self._in_writer = database, in_writer
        self.root = database.archive

    def days(self) -> list[date]:
        """Return the days that are in the archive, oldest first."""
        return [day for (day,) in self.query("SELECT DISTINCT day FROM archive_file WHERE state = 'archived' ORDER BY day")]

    def of_day(self, day: date, table: str | None = None) -> list[ArchiveFile]:
        """Return the files of a day, for one table or for all."""
        sql = """SELECT path, name, first_number, last_number, columns FROM archive_file
                 WHERE state = 'archived' AND day = $day AND name = coalesce($name, name) ORDER BY path"""
        found = self.query(sql, {"day": day, "name": table})
        return [
            ArchiveFile(path, name, ArchivePart(day, first, last), tuple(columns)) for path, name, first, last, columns in found
        ]

    def write(self, file: ArchiveFile, rows_sql: str, cursor: DuckDBPyConnection) -> WrittenFile | None:
        """Write the rows of a query to a file, make it durable, read it back and compare; return None if there are no rows.

        Raises:
            ArchiveFailed: the file cannot be written, or has wrong rows.
        """
        path = self.root / file.path
        try:
            wanted = _content(cursor, f"({rows_sql})")
            if not wanted[0]:
                return None
            self._copy(cursor, rows_sql, file, path)
            found = _content(cursor, read_files([part_path(path)]))
            if found != wanted:
                raise ArchiveFailed(f"{path} has {found[0]} rows with checksum {found[1]}, it should have {wanted}")
            digest = _sha256(part_path(path))
            part_path(path).rename(path)
            for folder in (path.parent, self.root, self.root.parent):
                sync_folder(folder)
            return WrittenFile(file, wanted[0], path.stat().st_size, digest)
        except (Error, OSError) as error:
            raise ArchiveFailed(f"{path} could not be written: {first_line(error)}") from error

    def switch(self, old: Iterable[ArchiveFile], new: list[WrittenFile], also: Callable[[DuckDBPyConnection], None]) -> None:
        """Replace files of the views by others, and run `also`, in one transaction.

        Raises:
            ArchiveFailed: the database was reopened meanwhile, which removes new files; nothing was replaced.
            StorageError: the database failed, or what `also` raises.
        """

        def work(connection: DuckDBPyConnection) -> None:
            for file in old:
                connection.execute("UPDATE archive_file SET state = 'obsolete' WHERE path = ?", [file.path])
            for written in new:
                _record_archived(connection, written)
            also(connection)
            define_views(connection, self.root)

        self.transact(work)

    @contextmanager
    def writing(self, files: list[ArchiveFile]) -> Iterator[None]:
        """List files that are about to be written, so that no crash or failure leaves an unlisted file."""

        def list_files(connection: DuckDBPyConnection) -> None:
            self._remove_unfinished(connection)
            for file in files:
                _record(connection, file, "writing", None)

        self.transact(list_files)
        try:
            yield
        finally:
            with suppress(StorageError, OSError, RuntimeError):  # the next opening, or the next file, removes the files
                self.transact(self._remove_unfinished)

    def _remove_unfinished(self, connection: DuckDBPyConnection) -> None:
        remove_unfinished(connection, self.root)

    def new_file(self, table: str, part: ArchivePart, columns: Iterable[str]) -> ArchiveFile:
        """Choose a path that no file has yet."""
        stem, copies = f"day={part.day}/{table}-{part.first:012d}", 1
        listed = {path for (path,) in self.query("SELECT path FROM archive_file")}
        while (path := f"{stem}{'' if copies == 1 else f'-{copies}'}.parquet") in listed or (self.root / path).exists():
            copies += 1
        return ArchiveFile(path, table, part, tuple(columns))

    def remove_obsolete(self) -> bool:
        """Remove the files that are no longer part of the views, once no query can read them; return whether all are."""
        paths = [path for (path,) in self.query("SELECT path FROM archive_file WHERE state = 'obsolete'")]
        if not paths:
            return True
        if not self.database.wait_for_queries(READERS_END_S):
            return False
        for path in paths:
            (self.root / path).unlink(missing_ok=True)
            with suppress(OSError):  # there are other files in it
                (self.root / path).parent.rmdir()
        self.transact(lambda connection: _delete_paths(connection, paths))
        return True

    def query(self, sql: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Run a query on a separate cursor and return its rows.

        Raises:
            StorageError: the database failed.
        """
        try:
            with self.database.cursor() as cursor:
                return cursor.execute(sql, parameters or {}).fetchall()
        except Error as error:
            raise StorageError(f"the database failed: {first_line(error)}") from error

    def tables(self) -> dict[str, list[str]]:
        """Return the columns of each table that has an archive."""
        with self.database.cursor() as cursor:
            return tables(cursor)

    def transact(self, work: Callable[[DuckDBPyConnection], T]) -> T:
        """Run `work` in one transaction in the writer's thread; return its result.

        Raises:
            StorageError: the database failed, or what `work` raises.
        """
        result: T = self._in_writer(lambda: self.database.transact(work))
        return result

    def check_whole(self, file: ArchiveFile) -> None:
        """Compare a file with its recorded digest.

        Raises:
            ArchiveFailed: it is missing or damaged.
        """
        ((expected,),) = self.query("SELECT sha256 FROM archive_file WHERE path = $path", {"path": file.path})
        path = self.root / file.path
        try:
            found = _sha256(path)
        except OSError as error:
            raise ArchiveFailed(f"{path} cannot be read: {error.strerror}; restore the file from a copy") from error
        if found != expected:
            raise ArchiveFailed(f"{path} is damaged (its SHA-256 differs from the recorded one); restore the file from a copy")

    def _copy(self, cursor: DuckDBPyConnection, rows_sql: str, file: ArchiveFile, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        order = "topic, received_at" if "topic" in file.columns else "received_at"
        target = literal(str(part_path(path)))
        cursor.execute(f"COPY (SELECT * FROM ({rows_sql}) ORDER BY {order}) TO {target} (FORMAT parquet, COMPRESSION zstd)")
        sync_file(part_path(path))


def within(day: date) -> str:
    """Return the SQL condition for rows that arrived on a day in UTC."""
    begin, end = (f"TIMESTAMPTZ '{each} 00:00:00+00'" for each in (day, day + timedelta(days=1)))
    return f"received_at >= {begin} AND received_at < {end}"


def _content(cursor: DuckDBPyConnection, source: str) -> tuple[int, int]:
    """Return the number of rows and the sum of their hashes, which does not depend on their order."""
    rows = cursor.execute(f"SELECT count(*), coalesce(sum(hash(content)), 0) FROM {source} AS content").fetchall()
    return int(rows[0][0]), int(rows[0][1])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def count(result: DuckDBPyConnection) -> int:
    """Return the number of rows that a statement reports."""
    return int(result.fetchall()[0][0])


def _record_archived(connection: DuckDBPyConnection, written: WrittenFile) -> None:
    unlisted = connection.execute("DELETE FROM archive_file WHERE path = ? AND state = 'writing'", [written.file.path])
    if not count(unlisted):
        raise ArchiveFailed(f"{written.file.path} was removed when the database was reopened: archive the day again")
    _record(connection, written.file, "archived", written)


def _record(connection: DuckDBPyConnection, file: ArchiveFile, state: str, written: WrittenFile | None) -> None:
    part = file.part
    measured = (written.rows, written.size, written.sha256) if written else (None, None, None)
    connection.execute(
        "INSERT INTO archive_file VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [file.path, part.day, file.table, state, *measured, part.first, part.last, list(file.columns), datetime.now(UTC)],
    )


def _delete_paths(connection: DuckDBPyConnection, paths: list[str]) -> None:
    for path in paths:
        connection.execute("DELETE FROM archive_file WHERE path = ? AND state = 'obsolete'", [path])
