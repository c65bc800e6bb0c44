"""The archive: days that are over, as Parquet files in `archive/day=YYYY-MM-DD/`. A view covers them and the live rows.

A day moves in parts. One transaction makes the complete files of a part (`archive_files.py`) part of the views and deletes the
same rows from the live tables, so that every message is always in exactly one of them.
"""

from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from itertools import groupby

from duckdb import DuckDBPyConnection, OutOfMemoryException

from broker.contract.sql import identifier
from storage.database.database import Database
from storage.errors import ArchiveFailed
from storage.retention.archive_files import ArchiveFile, ArchiveFiles, ArchivePart, InWriter, WrittenFile, count, within
from storage.schema.views import define_views, read_files

PART_ROWS = 1_000_000
"""Maximum of messages in one file: sorting them has to fit into the database's memory."""
Report = Callable[[str, int, int], None]
"""Called with the present step, and how many of how many of its items are done."""
RESTORED_RATIO = 10
"""Estimate of the size of a day in the database, relative to its files in the archive."""


class Archive:
    """The archive of one database. Files are read and written in the calling thread, transactions run in the writer's."""

    def __init__(self, database: Database, in_writer: InWriter) -> None:
        self._database = database
        self.files = ArchiveFiles(database, in_writer)

    def closed_days(self, today: date, live_days: int = 0) -> list[date]:
        """Return the days that are over and have live rows, oldest first, except restored days and the last `live_days`.

        Raises:
            StorageError: the database failed.
        """
        days = " UNION ".join(
            f"SELECT DISTINCT received_at::DATE AS day FROM live.{identifier(name)}" for name in self.files.tables()
        )
        sql = f"SELECT day FROM ({days}) WHERE day < $end AND day NOT IN (SELECT day FROM restored_day) ORDER BY day"
        return [day for (day,) in self.files.query(sql, {"end": today - timedelta(days=live_days)})]

    def days_with_means(self, today: date) -> list[date]:
        """Return the days that are over and have means that are not archived yet, except restored days."""
        sql = """SELECT DISTINCT received_at::DATE AS day FROM live.message_mean
                 WHERE received_at < $end AND day NOT IN (SELECT day FROM restored_day) ORDER BY day"""
        return [day for (day,) in self.files.query(sql, {"end": today})]

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

    def move_means(self, day: date) -> None:
        """Move the means of a day to the archive.

        Raises:
            ArchiveFailed: the file could not be written.
            StorageError: the database failed.
        """
        columns = self.files.tables()["message_mean"]
        file = self.files.new_file("message_mean", ArchivePart(day, 0, 0), columns)
        self._move_rows([file], within(day))

    def restore(self, day: date, report: Report) -> int:
        """Move a day from the archive back to the live tables, where it stays until it is archived on request.

        Raises:
            ArchiveFailed: the day is not archived, one of its files is damaged, or the disk is too full; it stays archived.
            StorageError: the database failed.
        """
        files = self.files.of_day(day)
        if not files:
            raise ArchiveFailed(f"{day} is not in the archive: `scaup archive list` shows the days that are")
        for file in files:
            self.files.check_whole(file)
        self._check_room(day)
        restored = done = 0
        self.files.transact(lambda connection: _record_restored(connection, day))
        for _, group in groupby(sorted(files, key=_numbers), key=_numbers):
            report(f"restoring {day}", done, len(files))
            together = list(group)
            restored += self.files.transact(partial(self._restore_part, files=together))
            done += len(together)
        self.files.remove_obsolete()
        report(f"restoring {day}", len(files), len(files))
        return restored

    def _parts(self, day: date) -> list[ArchivePart]:
        names = [name for name, columns in self.files.tables().items() if "number" in columns]
        numbers = " UNION ALL ".join(f"SELECT number FROM live.{identifier(name)} WHERE {within(day)}" for name in names)
        sql = f"SELECT min(number), max(number) FROM ({numbers}) GROUP BY number // {PART_ROWS} ORDER BY ALL"
        return [ArchivePart(day, first, last) for first, last in self.files.query(sql)]

    def _move_part(self, part: ArchivePart) -> int:
        tables = self.files.tables()
        files = [self.files.new_file(name, part, columns) for name, columns in tables.items() if "number" in columns]
        try:
            written = self._move_rows(files, part.condition)
        except ArchiveFailed as error:
            if not isinstance(error.__cause__, OutOfMemoryException) or part.first == part.last:
                raise
            return sum(self._move_part(half) for half in part.halves())
        return sum(each.rows for each in written if each.file.table == "messages")

    def _move_rows(self, files: list[ArchiveFile], condition: str) -> list[WrittenFile]:
        with self.files.writing(files):
            written = self._write_live(files, condition)
            self._switch_live(files, written, condition)
        return written

    def _write_live(self, files: list[ArchiveFile], condition: str) -> list[WrittenFile]:
        written = []
        with self._database.cursor() as cursor:
            for file in files:
                names = ", ".join(identifier(column) for column in file.columns)
                rows_sql = f"SELECT {names} FROM live.{identifier(file.table)} WHERE {condition}"
                if (each := self.files.write(file, rows_sql, cursor)) is not None:
                    written.append(each)
        return written

    def _switch_live(self, files: list[ArchiveFile], written: list[WrittenFile], condition: str) -> None:
        rows = {each.file.table: each.rows for each in written}

        def remove(connection: DuckDBPyConnection) -> None:
            for file in files:
                removed = count(connection.execute(f"DELETE FROM live.{identifier(file.table)} WHERE {condition}"))
                if removed != (wanted := rows.get(file.table, 0)):
                    raise ArchiveFailed(f"{file.path} has {wanted} rows, the live table {removed}: nothing was moved")
                connection.execute("DELETE FROM restored_day WHERE day = ?", [file.part.day])

        self.files.switch((), written, remove)

    def _check_room(self, day: date) -> None:
        ((size,),) = self.files.query(
            "SELECT sum(bytes) FROM archive_file WHERE state = 'archived' AND day = $day", {"day": day}
        )
        if (free := self._database.free_bytes) < (needed := size * RESTORED_RATIO):
            raise ArchiveFailed(f"restoring {day} may take {needed >> 20} MiB of disk, {free >> 20} MiB are free: make room")

    def _restore_part(self, connection: DuckDBPyConnection, files: list[ArchiveFile]) -> int:
        """Restore files with the same messages in one transaction: a message and its typed rows are never separated."""
        rows = {file.path: self._restore_file(connection, file) for file in files}
        define_views(connection, self.files.root)
        return sum(rows[file.path] for file in files if file.table == "messages")

    def _restore_file(self, connection: DuckDBPyConnection, file: ArchiveFile) -> int:
        names = ", ".join(identifier(column) for column in file.columns)
        source = read_files([self.files.root / file.path])
        restored = count(
            connection.execute(f"INSERT INTO live.{identifier(file.table)} ({names}) SELECT {names} FROM {source}")
        )
        archived = count(connection.execute("SELECT rows FROM archive_file WHERE path = ?", [file.path]))
        if restored != archived:
            raise ArchiveFailed(f"{file.path} has {restored} rows, {archived} were archived: it is damaged and stays there")
        connection.execute("UPDATE archive_file SET state = 'obsolete' WHERE path = ?", [file.path])
        return restored


def _numbers(file: ArchiveFile) -> tuple[int, int]:
    return file.part.first, file.part.last


def _record_restored(connection: DuckDBPyConnection, day: date) -> None:
    connection.execute("DELETE FROM restored_day WHERE day = ?", [day])
    connection.execute("INSERT INTO restored_day VALUES (?, now())", [day])
