"""The archive: days that are over, as Parquet files in `archive/day=YYYY-MM-DD/`, one view with what is live.

Every step can be interrupted by a crash. A file is noted as `writing` before its first byte; it is complete, durable, read back
and compared before one transaction makes it part of the views and removes the same rows from the live table. What that
transaction replaced is noted as `obsolete` and removed when nothing reads it any more. Whatever a crash leaves in either state
is removed at the next opening (`storage/database/files.py`).
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
"""Messages in one file at most: sorting them has to fit into the database's memory."""
READERS_END_S = 70.0
"""How long an obsolete file waits for queries that may read it: longer than any query may take."""
RESTORED_TIMES = 10
"""How much larger than its files in the archive a day may be in the database."""

InWriter = Callable[[Callable[[], T]], T]
"""Runs something in the thread that writes to the database."""
Tell = Callable[[str, int, int], None]
"""Is told what is being done, and how much of how much of it is done."""


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one day whose messages have numbers from `first` to `last`."""

    day: date
    first: int
    last: int

    @property
    def condition(self) -> str:
        """The rows of a live table that belong to it."""
        return f"number BETWEEN {self.first} AND {self.last} AND {within(self.day)}"

    def halves(self) -> "tuple[Part, Part]":
        """Return the rows of the first half of the numbers, and the others."""
        middle = (self.first + self.last) // 2
        return Part(self.day, self.first, middle), Part(self.day, middle + 1, self.last)


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """One Parquet file of the archive, or to be: `path` below the archive's folder, of `table`."""

    path: str
    table: str
    part: Part
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """A complete file: how many rows and bytes it has, and its digest."""

    file: ArchiveFile
    rows: int
    size: int
    sha256: str


class Archive:
    """The archive of one database. Reading and writing of files happens in the calling thread, transactions in the writer's."""

    def __init__(self, database: Database, in_writer: Callable[[Callable[[], Any]], Any]) -> None:
        self.database, self._in_writer = database, in_writer
        self.root = database.archive

    def closed_days(self, today: date, live_days: int = 0) -> list[date]:
        """Return the days with live rows that are over and may move, oldest first; not those that were brought back.

        Raises:
            StorageError: the database failed.
        """
        days = " UNION ".join(
            f"SELECT DISTINCT received_at::DATE AS day FROM live.{identifier(name)}" for name in self._tables()
        )
        sql = f"SELECT day FROM ({days}) WHERE day < $end AND day NOT IN (SELECT day FROM restored_day) ORDER BY day"
        return [day for (day,) in self.query(sql, {"end": today - timedelta(days=live_days)})]

    def days_with_means(self, today: date) -> list[date]:
        """Return the days that are over and have means that are not archived yet; not those that were brought back."""
        sql = """SELECT DISTINCT received_at::DATE AS day FROM live.message_mean
                 WHERE received_at < $end AND day NOT IN (SELECT day FROM restored_day) ORDER BY day"""
        return [day for (day,) in self.query(sql, {"end": today})]

    def archived_days(self) -> list[date]:
        """Return the days that are in the archive, oldest first."""
        return [day for (day,) in self.query("SELECT DISTINCT day FROM archive_file WHERE state = 'archived' ORDER BY day")]

    def move(self, day: date, tell: Tell) -> int:
        """Move a day that is over to the archive, part by part; return how many messages moved.

        Raises:
            ArchiveFailed: a file could not be written, or has not what it should; what is not moved stays live.
            StorageError: the database failed.
        """
        parts, moved = self._parts(day), 0
        for done, part in enumerate(parts):
            tell(f"archiving {day}", done, len(parts))
            moved += self._move_part(part)
        self.move_means(day)
        tell(f"archiving {day}", len(parts), len(parts))
        return moved

    def restore(self, day: date, tell: Tell) -> int:
        """Bring a day back from the archive into the live tables, to stay until it is archived on demand.

        Raises:
            ArchiveFailed: the day is not in the archive, a file of it is damaged, or the disk is too full; it stays archived.
            StorageError: the database failed.
        """
        files = self.files(day)
        if not files:
            raise ArchiveFailed(f"{day} is not in the archive: `scaup archive list` shows what is")
        for file in files:
            self._check_whole(file)
        self._check_room(day)
        restored = done = 0
        self._transact(lambda connection: _note_restored(connection, day))
        for _, part in groupby(sorted(files, key=_numbers), key=_numbers):
            tell(f"restoring {day}", done, len(files))
            together = list(part)
            restored += self._transact(partial(self._restore_part, files=together))
            done += len(together)
        self.remove_obsolete()
        tell(f"restoring {day}", len(files), len(files))
        return restored

    def files(self, day: date, table: str | None = None) -> list[ArchiveFile]:
        """Return the files of a day, of one table or of all."""
        sql = """SELECT path, name, first_number, last_number, columns FROM archive_file
                 WHERE state = 'archived' AND day = $day AND name = coalesce($name, name) ORDER BY path"""
        found = self.query(sql, {"day": day, "name": table})
        return [ArchiveFile(path, name, Part(day, first, last), tuple(columns)) for path, name, first, last, columns in found]

    def write(self, file: ArchiveFile, rows_sql: str, cursor: DuckDBPyConnection) -> Written | None:
        """Write the rows of a query into a file, make it durable, read it back and compare; None if there are no rows.

        Raises:
            ArchiveFailed: the file cannot be written, or has not the rows that it should have.
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
            return Written(file, wanted[0], path.stat().st_size, digest)
        except (Error, OSError) as error:
            raise ArchiveFailed(f"{path} could not be written: {first_line(error)}") from error

    def switch(self, old: Iterable[ArchiveFile], new: list[Written], also: Callable[[DuckDBPyConnection], None]) -> None:
        """Replace files of the views by others, and do what belongs to it, in one transaction.

        Raises:
            ArchiveFailed: a new file is gone, since the database had to be opened again meanwhile; nothing was replaced.
            StorageError: the database failed, or what `also` raises.
        """

        def work(connection: DuckDBPyConnection) -> None:
            for file in old:
                connection.execute("UPDATE archive_file SET state = 'obsolete' WHERE path = ?", [file.path])
            for written in new:
                _note_archived(connection, written)
            also(connection)
            define_views(connection, self.root)

        self._transact(work)

    @contextmanager
    def writing(self, files: list[ArchiveFile]) -> Iterator[None]:
        """Note files that are about to be written, so that neither a crash nor a failure leaves any that nobody knows."""

        def note(connection: DuckDBPyConnection) -> None:
            self._remove_unfinished(connection)
            for file in files:
                _note(connection, file, "writing", None)

        self._transact(note)
        try:
            yield
        finally:
            with suppress(StorageError, OSError, RuntimeError):  # the next opening, or the next file, removes them
                self._transact(self._remove_unfinished)

    def _remove_unfinished(self, connection: DuckDBPyConnection) -> None:
        remove_unfinished(connection, self.root)

    def new_file(self, table: str, part: Part, columns: Iterable[str]) -> ArchiveFile:
        """Choose a name that no file has yet."""
        stem, count = f"day={part.day}/{table}-{part.first:012d}", 1
        noted = {path for (path,) in self.query("SELECT path FROM archive_file")}
        while (path := f"{stem}{'' if count == 1 else f'-{count}'}.parquet") in noted or (self.root / path).exists():
            count += 1
        return ArchiveFile(path, table, part, tuple(columns))

    def remove_obsolete(self) -> bool:
        """Remove the files that are no longer part of the views, once no query can read them; tell whether none is left."""
        paths = [path for (path,) in self.query("SELECT path FROM archive_file WHERE state = 'obsolete'")]
        if not paths:
            return True
        if not self.database.wait_for_queries(READERS_END_S):
            return False
        for path in paths:
            (self.root / path).unlink(missing_ok=True)
            with suppress(OSError):  # it has other files
                (self.root / path).parent.rmdir()
        self._transact(lambda connection: _forget_paths(connection, paths))
        return True

    def query(self, sql: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Ask the database on a connection of its own.

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
        done: T = self._in_writer(lambda: self.database.transact(work))
        return done

    def _parts(self, day: date) -> list[Part]:
        names = [name for name, columns in self._tables().items() if "number" in columns]
        numbers = " UNION ALL ".join(f"SELECT number FROM live.{identifier(name)} WHERE {within(day)}" for name in names)
        sql = f"SELECT min(number), max(number) FROM ({numbers}) GROUP BY number // {PART_ROWS} ORDER BY ALL"
        return [Part(day, first, last) for first, last in self.query(sql)]

    def _move_part(self, part: Part) -> int:
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
        file = self.new_file("message_mean", Part(day, 0, 0), columns)
        self._move_rows([file], within(day))

    def _move_rows(self, files: list[ArchiveFile], condition: str) -> list[Written]:
        with self.writing(files):
            written = self._write_live(files, condition)
            self._switch_live(files, written, condition)
        return written

    def _write_live(self, files: list[ArchiveFile], condition: str) -> list[Written]:
        written = []
        with self.database.cursor() as cursor:
            for file in files:
                names = ", ".join(identifier(column) for column in file.columns)
                rows_sql = f"SELECT {names} FROM live.{identifier(file.table)} WHERE {condition}"
                if (each := self.write(file, rows_sql, cursor)) is not None:
                    written.append(each)
        return written

    def _switch_live(self, files: list[ArchiveFile], written: list[Written], condition: str) -> None:
        rows = {each.file.table: each.rows for each in written}

        def remove(connection: DuckDBPyConnection) -> None:
            for file in files:
                removed = _count(connection.execute(f"DELETE FROM live.{identifier(file.table)} WHERE {condition}"))
                if removed != (wanted := rows.get(file.table, 0)):
                    raise ArchiveFailed(f"{file.path} has {wanted} rows, {removed} are live: nothing was moved")
                connection.execute("DELETE FROM restored_day WHERE day = ?", [file.part.day])

        self.switch((), written, remove)

    def _check_whole(self, file: ArchiveFile) -> None:
        ((noted,),) = self.query("SELECT sha256 FROM archive_file WHERE path = $path", {"path": file.path})
        path = self.root / file.path
        try:
            found = _sha256(path)
        except OSError as error:
            raise ArchiveFailed(f"{path} cannot be read: {error.strerror}; bring it back from a copy") from error
        if found != noted:
            raise ArchiveFailed(f"{path} is damaged (its SHA-256 is not the one noted); bring it back from a copy")

    def _check_room(self, day: date) -> None:
        ((size,),) = self.query("SELECT sum(bytes) FROM archive_file WHERE state = 'archived' AND day = $day", {"day": day})
        if (free := self.database.free_bytes) < (needed := size * RESTORED_TIMES):
            raise ArchiveFailed(f"restoring {day} may take {needed >> 20} MiB of disk, {free >> 20} MiB are free: make room")

    def _restore_part(self, connection: DuckDBPyConnection, files: list[ArchiveFile]) -> int:
        """Restore files with the same messages together: a message and its typed rows are never apart."""
        rows = {file.path: self._restore_file(connection, file) for file in files}
        define_views(connection, self.root)
        return sum(rows[file.path] for file in files if file.table == "messages")

    def _restore_file(self, connection: DuckDBPyConnection, file: ArchiveFile) -> int:
        names = ", ".join(identifier(column) for column in file.columns)
        source = read_files([self.root / file.path])
        restored = _count(
            connection.execute(f"INSERT INTO live.{identifier(file.table)} ({names}) SELECT {names} FROM {source}")
        )
        noted = _count(connection.execute("SELECT rows FROM archive_file WHERE path = ?", [file.path]))
        if restored != noted:
            raise ArchiveFailed(f"{file.path} has {restored} rows, {noted} were archived: it is damaged, and stays where it is")
        connection.execute("UPDATE archive_file SET state = 'obsolete' WHERE path = ?", [file.path])
        return restored

    def _copy(self, cursor: DuckDBPyConnection, rows_sql: str, file: ArchiveFile, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        order = "topic, received_at" if "topic" in file.columns else "received_at"
        target = literal(str(part_path(path)))
        cursor.execute(f"COPY (SELECT * FROM ({rows_sql}) ORDER BY {order}) TO {target} (FORMAT parquet, COMPRESSION zstd)")
        sync_file(part_path(path))


def within(day: date) -> str:
    """Return the condition for rows that arrived on a day, in UTC."""
    begin, end = (f"TIMESTAMPTZ '{each} 00:00:00+00'" for each in (day, day + timedelta(days=1)))
    return f"received_at >= {begin} AND received_at < {end}"


def _numbers(file: ArchiveFile) -> tuple[int, int]:
    return file.part.first, file.part.last


def _content(cursor: DuckDBPyConnection, source: str) -> tuple[int, int]:
    """Return how many rows there are, and the sum of their hashes: the same for the same rows in any order."""
    rows = cursor.execute(f"SELECT count(*), coalesce(sum(hash(content)), 0) FROM {source} AS content").fetchall()
    return int(rows[0][0]), int(rows[0][1])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _count(result: DuckDBPyConnection) -> int:
    return int(result.fetchall()[0][0])


def _note_restored(connection: DuckDBPyConnection, day: date) -> None:
    connection.execute("DELETE FROM restored_day WHERE day = ?", [day])
    connection.execute("INSERT INTO restored_day VALUES (?, now())", [day])


def _note_archived(connection: DuckDBPyConnection, written: Written) -> None:
    noted = connection.execute("DELETE FROM archive_file WHERE path = ? AND state = 'writing'", [written.file.path])
    if not _count(noted):
        raise ArchiveFailed(f"{written.file.path} was removed when the database was opened again: archive it once more")
    _note(connection, written.file, "archived", written)


def _note(connection: DuckDBPyConnection, file: ArchiveFile, state: str, written: Written | None) -> None:
    part = file.part
    measured = (written.rows, written.size, written.sha256) if written else (None, None, None)
    connection.execute(
        "INSERT INTO archive_file VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [file.path, part.day, file.table, state, *measured, part.first, part.last, list(file.columns), datetime.now(UTC)],
    )


def _forget_paths(connection: DuckDBPyConnection, paths: list[str]) -> None:
    for path in paths:
        connection.execute("DELETE FROM archive_file WHERE path = ? AND state = 'obsolete'", [path])
