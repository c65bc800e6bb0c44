"""A snapshot of a database for a backup: the rows that the backup does not have yet, as Parquet files in a folder.

Rows of `messages` and of typed tables never change, and each has the number of its message. So the rows up to a number are a
consistent state, whatever is recorded meanwhile, and no long transaction is needed. What moves rows (archive, retention) runs
in the same thread as this. A range of numbers is written once. It is written again only if rows of it have left for the archive
or come back, which their count and mark show.
"""

import shutil
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from duckdb import DuckDBPyConnection, Error, OutOfMemoryException

from broker.contract.sql import identifier, literal
from broker.contract.storage.topics import HeldPart
from storage.backup.manifest import ArchiveCopy, Part, Snapshot, file_digest, mark_sql
from storage.errors import BackupFailed, first_line
from storage.files import part_path, sync_file, sync_folder
from storage.schema.views import read_files

PART_NUMBERS = 1_000_000
"""Messages in one file at most: sorting their rows has to fit into the database's memory."""
SNAPSHOT = "snapshot.json"
ARCHIVE = "archive"

Report = Callable[[str, int, int], None]
Cursor = Callable[[], AbstractContextManager[DuckDBPyConnection]]

_TABLES = """
SELECT schema_name, table_name, list(column_name ORDER BY column_index) FROM duckdb_columns()
JOIN duckdb_tables() USING (database_name, schema_name, table_name)
WHERE database_name = current_database() AND NOT temporary GROUP BY ALL ORDER BY ALL
"""
_ARCHIVED = "SELECT path, bytes, sha256 FROM archive_file WHERE state = 'archived' ORDER BY path"
_COUNTS = """
SELECT (SELECT count(*) FROM live.messages WHERE number <= $number),
       (SELECT coalesce(sum(rows), 0) FROM archive_file WHERE state = 'archived' AND name = 'messages'),
       (SELECT coalesce(sum(messages), 0) FROM expired_message)
"""


@dataclass(frozen=True, slots=True)
class _Table:
    schema: str
    name: str
    columns: tuple[str, ...]

    @property
    def numbered(self) -> bool:
        return self.schema == "live" and "number" in self.columns  # `schema_migration` has other numbers

    @property
    def sql(self) -> str:
        return f"{identifier(self.schema)}.{identifier(self.name)}"


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a table that belong to a range of messages, or all of them (0, 0)."""

    table: _Table
    first: int
    last: int

    @property
    def sql(self) -> str:
        where = f" WHERE number BETWEEN {self.first} AND {self.last}" if self.table.numbered else ""
        return f"SELECT * FROM {self.table.sql}{where}"


class SnapshotWriter:
    """Writes a snapshot of one database to `folder`.

    Args:
        cursor: lends a cursor of the database; nothing but appending may change it meanwhile.
        folder: an empty folder; DuckDB must be allowed to write to it.
        archive: the folder of the archive. Its files get a second name in `folder`, so that they stay even if they are deleted.
        check_room: called before a part is written, with its estimated size in bytes; raises BackupFailed if it does not fit.
        report: called with the present step, and how many of how many are done.
    """

    def __init__(self, cursor: Cursor, folder: Path, archive: Path, check_room: Callable[[int], None], report: Report) -> None:
        self._cursor, self._folder, self._archive = cursor, folder, archive
        self._check_room, self._report = check_room, report

    def write(self, number: int | None, held: Iterable[HeldPart], database: str | None, token: str) -> Snapshot:
        """Write what a backup does not have of the messages up to `number`, None for all, and return the whole.

        The backup has `held` of `database`, None if there is none yet.

        Raises:
            BackupFailed: the backup is of another database, or a file could not be written or is not what the database has.
        """
        try:
            if database not in (None, present := self._made()):
                raise BackupFailed("the folder has a backup of another database; choose another folder for this one")
            snapshot = self._write(number, set(held), present, token)
            path = self._folder / SNAPSHOT
            part_path(path).write_bytes(msgspec.json.encode(snapshot))
            sync_file(part_path(path))
            part_path(path).replace(path)
        except (Error, OSError) as error:
            reason = first_line(error)
            raise BackupFailed(f"the backup could not be made: {reason}; an earlier backup is whole") from error
        return snapshot

    def _write(self, number: int | None, held: set[HeldPart], database: str, token: str) -> Snapshot:
        at = datetime.now(UTC)
        tables = self._tables()
        first_schema = not any(each.schema == "live" for each in tables)
        if number is None:
            sql = "SELECT count(*) FROM messages" if first_schema else "SELECT coalesce(max(number), 0) FROM live.messages"
            number = self._query(sql)[0][0]
        migrations = tuple(each for (each,) in self._query("SELECT number FROM schema_migration ORDER BY number"))
        live, archived, expired = (number, 0, 0) if first_schema else map(int, self._query(_COUNTS, {"number": number})[0])
        links = () if first_schema else self._link_archive()
        parts, kept = self._write_parts(tables, held, number)
        return Snapshot(token, database, number, at, migrations, live, archived, expired, tuple(parts), tuple(kept), links)

    def _write_parts(self, tables: list[_Table], held: set[HeldPart], number: int) -> tuple[list[Part], list[HeldPart]]:
        numbered = [each for each in tables if each.numbered]
        ranges = self._ranges(numbered, held, number)
        wanted = [_Rows(table, *each) for each in ranges for table in numbered]
        wanted += [_Rows(table, 0, 0) for table in tables if not table.numbered]
        parts: list[Part] = []
        kept: list[HeldPart] = []
        for done, rows in enumerate(wanted):
            self._report("writing the backup", done, len(wanted))
            count, mark = self._found(rows)
            known = HeldPart(rows.table.name, rows.first, rows.last, count, mark)
            if rows.table.numbered and known in held:
                kept.append(known)
            elif count or not rows.table.numbered:
                parts += self._write_part(rows, count, mark)
        return parts, kept

    def _ranges(self, tables: list[_Table], held: set[HeldPart], number: int) -> list[tuple[int, int]]:
        """Return the ranges of the backup, and further ones for the live rows that are in none of them."""
        known = sorted({(each.first, each.last) for each in held if 0 < each.first <= each.last <= number})
        new = number - known[-1][1] if known else 0
        while known and new and (size := known[-1][1] - known[-1][0] + 1) <= min(new, PART_NUMBERS - new):
            known.pop()  # joined with what is new: so each range is larger than the next, and they are few
            new += size
        blocks: set[int] = set()
        for table in tables:
            sql = f"SELECT DISTINCT number // {PART_NUMBERS} FROM {table.sql} WHERE number <= {number}"
            blocks |= {block for (block,) in self._query(sql)}
        found, next_number = list[tuple[int, int]](), 1
        for first, last in [*known, (number + 1, number + 1)]:
            found += _split(next_number, first - 1, blocks)
            found += [(first, last)] * (first <= number)
            next_number = max(next_number, last + 1)
        return found

    def _write_part(self, rows: _Rows, count: int, mark: int) -> list[Part]:
        """Write rows to a file, make it durable, read it back and compare; in two halves if they do not fit into memory."""
        path = self._folder / f"{rows.table.name}-{rows.first:012d}-{rows.last:012d}.parquet"
        columns = rows.table.columns
        order = " ORDER BY topic, received_at" if {"topic", "received_at", "number"} <= {*columns} else ""  # else: as they are
        try:
            with self._cursor() as cursor:
                estimate = cursor.execute("SELECT total_blocks * block_size FROM pragma_database_size()").fetchall()[0][0]
                self._check_room(estimate if not rows.table.numbered else min(estimate, count * 1024))
                wanted = _content(cursor, f"({rows.sql})")
                cursor.execute(
                    f"COPY (SELECT * FROM ({rows.sql}){order}) TO {literal(str(part_path(path)))} "
                    "(FORMAT parquet, COMPRESSION zstd)"
                )
                sync_file(part_path(path))
                found = _content(cursor, read_files([part_path(path)]))
        except OutOfMemoryException:
            if rows.first == rows.last:
                raise
            middle = (rows.first + rows.last) // 2
            halves = [_Rows(rows.table, rows.first, middle), _Rows(rows.table, middle + 1, rows.last)]
            return [part for half in halves for part in self._write_part(half, *self._found(half))]
        if found != wanted or wanted[0] != count:
            raise BackupFailed(f"{path.name} has {found[0]} rows with checksum {found[1]}, it should have {wanted}")
        digest, size = file_digest(part_path(path)), part_path(path).stat().st_size
        final = path.with_stem(f"{path.stem}-{digest[:12]}")
        part_path(path).rename(final)
        sync_folder(self._folder)
        return [Part(rows.table.schema, rows.table.name, rows.first, rows.last, count, mark, final.name, size, digest)]

    def _found(self, rows: _Rows) -> tuple[int, int]:
        ((count, mark),) = self._query(f"SELECT count(*), {mark_sql(rows.table.numbered)} FROM ({rows.sql})")
        return int(count), int(mark)

    def _made(self) -> str:
        """Return when the database was made, which it keeps when it is compacted, migrated or restored."""
        return str(self._query("SELECT min(epoch_us(applied_at)) FROM schema_migration")[0][0])

    def _link_archive(self) -> tuple[ArchiveCopy, ...]:
        """Give every archived file a second name, so that the archive may remove it before it is copied."""
        found = []
        for path, size, digest in self._query(_ARCHIVED):
            if digest is None:
                raise BackupFailed(f"{path} of the archive is listed without a digest; `scaup verify` shows what is wrong")
            source, copy = self._archive / path, f"{path.removesuffix('.parquet')}-{digest[:12]}.parquet"
            target = self._folder / ARCHIVE / copy
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                target.hardlink_to(source)
            except FileNotFoundError as error:
                raise BackupFailed(f"{source} of the archive is missing: restore it from a copy first") from error
            found.append(ArchiveCopy(path, f"{ARCHIVE}/{copy}", size, digest))
        return tuple(found)

    def _tables(self) -> list[_Table]:
        return [_Table(schema, name, tuple(columns)) for schema, name, columns in self._query(_TABLES)]

    def _query(self, sql: str, parameters: dict[str, int] | None = None) -> list[tuple]:  # type: ignore[type-arg]
        with self._cursor() as cursor:
            return cursor.execute(sql, parameters or {}).fetchall()


def read_snapshot(folder: Path) -> Snapshot | None:
    """Return the complete snapshot in a folder, None if there is none."""
    try:
        return msgspec.json.decode((folder / SNAPSHOT).read_bytes(), type=Snapshot)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def check_free(database: Path) -> Callable[[int], None]:
    """Return a check that a file of some bytes fits on the disk of a database that nothing records into."""

    def check(size: int) -> None:
        if (free := shutil.disk_usage(database.parent).free) < size:
            raise BackupFailed(
                f"{free >> 20} MiB of disk are free at {database.parent}, {size >> 20} MiB are needed; make room"
            )

    return check


def _split(first: int, last: int, blocks: set[int]) -> list[tuple[int, int]]:
    """Return the pieces of a range that lie in `blocks` of `PART_NUMBERS`."""
    inside = sorted(each for each in blocks if first <= (each + 1) * PART_NUMBERS - 1 and each * PART_NUMBERS <= last)
    return [(max(first, each * PART_NUMBERS), min(last, (each + 1) * PART_NUMBERS - 1)) for each in inside]


def _content(cursor: DuckDBPyConnection, source: str) -> tuple[int, int]:
    """Return the number of rows and the sum of their hashes, which does not depend on their order."""
    ((rows, total),) = cursor.execute(f"SELECT count(*), coalesce(sum(hash(content)), 0) FROM {source} AS content").fetchall()
    return int(rows), int(total)
