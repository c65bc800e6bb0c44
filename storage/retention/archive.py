"""The archive: days that are over, as Parquet files in `archive/day=YYYY-MM-DD/`. A view covers them and the live rows.

Every step can be interrupted by a crash. A file is listed as `writing` before its first byte is written. It is complete,
durable, read back and compared before one transaction makes it part of the views and deletes the same rows from the live table.
Files that the transaction replaces are marked `obsolete`, and removed when no query can read them any more. Files that a crash
leaves in either state are removed when the database is next opened (`storage/database/opening.py`).
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from duckdb import DuckDBPyConnection, Error, OutOfMemoryException

from broker.contract.sql import identifier, literal
from storage.database.database import Database
from storage.database.opening import remove_unfinished
from storage.errors import ArchiveFailed, StorageError, first_line
from storage.files import part_path, sync_file, sync_folder
from storage.schema.views import define_views, read_files, tables

log = logging.getLogger(__name__)
T = TypeVar("T")

PART_ROWS = 1_000_000
"""Maximum of messages in one file: sorting them has to fit into the database's memory."""
READERS_END_S = 70.0
"""Time for queries that may read an obsolete file to end: longer than any query may take."""
RESTORED_RATIO = 10
"""Estimate of the size of a day in the database, relative to its files in the archive."""

InWriter = Callable[[Callable[[], Any]], Any]
"""Runs a function in the thread that writes to the database, and returns its result."""
Report = Callable[[str, int, int], None]
"""Called with the present step, and how many of how many of its items are done."""


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


class Archive:
    """The archive of one database. Files are read and written in the calling thread, transactions run in the writer's."""

    def __init__(self, database: Database, in_writer: InWriter) -> None:
        self.database, self._in_writer = database, in_writer
        self.root = database.archive

    def closed_days(self, today: date, live_days: int = 0) -> list[date]:
        """Return the days that are over and have live rows, oldest first, except restored days and the last `live_days`.

        Raises:
            StorageError: the database failed.
        """
        days = " UNION ".join(
            f"SELECT DISTINCT received_at::DATE AS day FROM live.{identifier(name)}" for name in self._tables()
        )
        sql = f"SELECT day FROM ({days}) WHERE day < $end AND day NOT IN (SELECT day FROM restored_day) ORDER BY day"
        return [day for (day,) in self.query(sql, {"end": today - timedelta(days=live_days)})]

    def days_with_means(self, today: date) -> list[date]:
        """Return the days that are over and have means that are not archived yet, except restored days."""
        sql = """SELECT DISTINCT received_at::DATE AS day FROM live.message_mean
                 WHERE received_at < $end AND day NOT IN (SELECT day FROM restored_day) ORDER BY day"""
        return [day for (day,) in self.query(sql, {"end": today})]

    def archived_days(self) -> list[date]:
        """Return the days that are in the archive, oldest first."""
        return [day for (day,) in self.query("SELECT DISTINCT day FROM archive_file WHERE state = 'archived' ORDER BY day")]

    def move(self, day: date, report: Report) -> int:
        """Move a day that is over to the archive, part by part; return the number of messages.

        Raises:
            ArchiveFailed: a file could not be written or has wrong content; rows that are not moved stay live.
            StorageError: the database failed.
        """
        parts, moved = self._parts(day), 0
        for done, part in enumerate(parts):
            report(f"archiving {day}", done, len(parts))
            moved += self._move_part(part)
        self.move_means(day)
        report(f"archiving {day}", len(parts), len(parts))
        return moved

    def restore(self, day: date, report: Report) -> int:
        """Move a day from the archive back to the live tables, where it stays until it is archived on request.

        Raises:
            ArchiveFailed: the day is not archived, one of its files is damaged, or the disk is too full; nothing changes.
            StorageError: the database failed.
        """
        files = self.files(day)
        if not files:
            raise ArchiveFailed(f"{day} is not in the archive: `scaup archive list` shows the days that are")
        for file in files:
            self._check_whole(file)
        self._check_room(day)
        restored = done = 0
        self._transact(lambda connection: _record_restored(connection, day))
        for _, group in groupby(sorted(files, key=_numbers), key=_numbers):
            report(f"restoring {day}", done, len(files))
            together = list(group)
            restored += self._transact(partial(self._restore_part, files=together))
            done += len(together)
        self.remove_obsolete()
        report(f"restoring {day}", len(files), len(files))
        return restored

    def files(self, day: date, table: str | None = None) -> list[ArchiveFile]:
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

        self._transact(work)

    @contextmanager
    def writing(self, files: list[ArchiveFile]) -> Iterator[None]:
        """List files that are about to be written, so that no crash or failure leaves an unlisted file."""

        def list_files(connection: DuckDBPyConnection) -> None:
            self._remove_unfinished(connection)
            for file in files:
                _record(connection, file, "writing", None)

        self._transact(list_files)
        try:
            yield
        finally:
            with suppress(StorageError, OSError, RuntimeError):  # the next opening, or the next file, removes the files
                self._transact(self._remove_unfinished)

    def _remove_unfinished(self, connection: DuckDBPyConnection) -> None:
        remove_unfinished(connection, self.root)

    def new_file(self, table: str, part: ArchivePart, columns: Iterable[str]) -> ArchiveFile:
        """Choose a path that no file has yet."""
        stem, count = f"day={part.day}/{table}-{part.first:012d}", 1
        listed = {path for (path,) in self.query("SELECT path FROM archive_file")}
        while (path := f"{stem}{'' if count == 1 else f'-{count}'}.parquet") in listed or (self.root / path).exists():
            count += 1
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
        self._transact(lambda connection: _delete_paths(connection, paths))
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

    def _tables(self) -> dict[str, list[str]]:
        with self.database.cursor() as cursor:
            return tables(cursor)

    def _transact(self, work: Callable[[DuckDBPyConnection], T]) -> T:
        result: T = self._in_writer(lambda: self.database.transact(work))
        return result

    def _parts(self, day: date) -> list[ArchivePart]:
        names = [name for name, columns in self._tables().items() if "number" in columns]
        numbers = " UNION ALL ".join(f"SELECT number FROM live.{identifier(name)} WHERE {within(day)}" for name in names)
        sql = f"SELECT min(number), max(number) FROM ({numbers}) GROUP BY number // {PART_ROWS} ORDER BY ALL"
        return [ArchivePart(day, first, last) for first, last in self.query(sql)]

    def _move_part(self, part: ArchivePart) -> int:
        files = [self.new_file(name, part, columns) for name, columns in self._tables().items() if "number" in columns]
        try:
            written = self._move_rows(files, part.condition)
        except ArchiveFailed as error:
            if not isinstance(error.__cause__, OutOfMemoryException) or part.first == part.last:
                raise
            return sum(self._move_part(half) for half in part.halves())
        return sum(each.rows for each in written if each.file.table == "messages")

    def move_means(self, day: date) -> None:
        """Move the means of a day to the archive.

        Raises:
            ArchiveFailed: the file could not be written.
            StorageError: the database failed.
        """
        columns = self._tables()["message_mean"]
        file = self.new_file("message_mean", ArchivePart(day, 0, 0), columns)
        self._move_rows([file], within(day))

    def _move_rows(self, files: list[ArchiveFile], condition: str) -> list[WrittenFile]:
        with self.writing(files):
            written = self._write_live(files, condition)
            self._switch_live(files, written, condition)
        return written

    def _write_live(self, files: list[ArchiveFile], condition: str) -> list[WrittenFile]:
        written = []
        with self.database.cursor() as cursor:
            for file in files:
                names = ", ".join(identifier(column) for column in file.columns)
                rows_sql = f"SELECT {names} FROM live.{identifier(file.table)} WHERE {condition}"
                if (each := self.write(file, rows_sql, cursor)) is not None:
                    written.append(each)
        return written

    def _switch_live(self, files: list[ArchiveFile], written: list[WrittenFile], condition: str) -> None:
        rows = {each.file.table: each.rows for each in written}

        def remove(connection: DuckDBPyConnection) -> None:
            for file in files:
                removed = _count(connection.execute(f"DELETE FROM live.{identifier(file.table)} WHERE {condition}"))
                if removed != (wanted := rows.get(file.table, 0)):
                    raise ArchiveFailed(f"{file.path} has {wanted} rows, the live table {removed}: nothing was moved")
                connection.execute("DELETE FROM restored_day WHERE day = ?", [file.part.day])

        self.switch((), written, remove)

    def _check_whole(self, file: ArchiveFile) -> None:
        ((expected,),) = self.query("SELECT sha256 FROM archive_file WHERE path = $path", {"path": file.path})
        path = self.root / file.path
        try:
            found = _sha256(path)
        except OSError as error:
            raise ArchiveFailed(f"{path} cannot be read: {error.strerror}; restore the file from a copy") from error
        if found != expected:
            raise ArchiveFailed(f"{path} is damaged (its SHA-256 differs from the recorded one); restore the file from a copy")

    def _check_room(self, day: date) -> None:
        ((size,),) = self.query("SELECT sum(bytes) FROM archive_file WHERE state = 'archived' AND day = $day", {"day": day})
        if (free := self.database.free_bytes) < (needed := size * RESTORED_RATIO):
            raise ArchiveFailed(f"restoring {day} may take {needed >> 20} MiB of disk, {free >> 20} MiB are free: make room")

    def _restore_part(self, connection: DuckDBPyConnection, files: list[ArchiveFile]) -> int:
        """Restore files with the same messages in one transaction: a message and its typed rows are never separated."""
        rows = {file.path: self._restore_file(connection, file) for file in files}
        define_views(connection, self.root)
        return sum(rows[file.path] for file in files if file.table == "messages")

    def _restore_file(self, connection: DuckDBPyConnection, file: ArchiveFile) -> int:
        names = ", ".join(identifier(column) for column in file.columns)
        source = read_files([self.root / file.path])
        restored = _count(
            connection.execute(f"INSERT INTO live.{identifier(file.table)} ({names}) SELECT {names} FROM {source}")
        )
        archived = _count(connection.execute("SELECT rows FROM archive_file WHERE path = ?", [file.path]))
        if restored != archived:
            raise ArchiveFailed(f"{file.path} has {restored} rows, {archived} were archived: it is damaged and stays there")
        connection.execute("UPDATE archive_file SET state = 'obsolete' WHERE path = ?", [file.path])
        return restored

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


def _numbers(file: ArchiveFile) -> tuple[int, int]:
    return file.part.first, file.part.last


def _content(cursor: DuckDBPyConnection, source: str) -> tuple[int, int]:
    """Return the number of rows and the sum of their hashes, which does not depend on their order."""
    rows = cursor.execute(f"SELECT count(*), coalesce(sum(hash(content)), 0) FROM {source} AS content").fetchall()
    return int(rows[0][0]), int(rows[0][1])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _count(result: DuckDBPyConnection) -> int:
    return int(result.fetchall()[0][0])


def _record_restored(connection: DuckDBPyConnection, day: date) -> None:
    connection.execute("DELETE FROM restored_day WHERE day = ?", [day])
    connection.execute("INSERT INTO restored_day VALUES (?, now())", [day])


def _record_archived(connection: DuckDBPyConnection, written: WrittenFile) -> None:
    unlisted = connection.execute("DELETE FROM archive_file WHERE path = ? AND state = 'writing'", [written.file.path])
    if not _count(unlisted):
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
