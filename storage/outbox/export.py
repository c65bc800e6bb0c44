"""The files of the outbox: a range of messages with their typed rows, written as one folder, complete or not there."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from duckdb import DuckDBPyConnection, Error, OutOfMemoryException

from broker.contract.outbox import MESSAGES, NOT_FORWARDED, OUTBOX, RECORDED, UPTO, Range, covered, ranges
from broker.contract.sql import identifier, literal
from storage.database.database import Database
from storage.errors import OutboxFailed, first_line
from storage.files import part_path, sync_file, sync_folder
from storage.schema.views import tables

LARGEST_RANGE = 100_000
"""Messages in one range at most: a commit of the lake is about as large."""
_MADE = "SELECT min(epoch_us(applied_at)) FROM schema_migration"
_ARCHIVED = "SELECT 1 FROM archive_file WHERE state = 'archived' AND last_number >= $first LIMIT 1"


class OutboxFiles:
    """The ranges of one database that wait for the lake. All methods are for one thread."""

    def __init__(self, database: Database) -> None:
        """Find the database's incarnation.

        Raises:
            StorageError: the database is not open.
        """
        self._database = database
        with database.cursor() as cursor:
            self.incarnation = str(cursor.execute(_MADE).fetchall()[0][0])
        self.folder = database.path.with_name(OUTBOX) / self.incarnation
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in self.folder.glob("*.part"):
            shutil.rmtree(leftover, ignore_errors=True)

    @property
    def upto(self) -> int:
        """The number up to which the lake has all messages, 0 as long as it is not known."""
        return read_number(self.folder / UPTO)

    def waiting(self) -> list[Range]:
        """Return the ranges that the lake does not have."""
        return ranges(each.name for each in self.folder.iterdir())

    def closed(self) -> int:
        """Return the number up to which messages are in the lake or in ranges."""
        return covered(self.upto, self.waiting())

    def bytes(self) -> int:
        """Return the size of all files."""
        total = 0
        for each in self.folder.glob("*/*"):
            try:
                total += each.stat().st_size
            except FileNotFoundError:  # the forwarder removed it
                continue
        return total

    def note_recorded(self, number: int) -> None:
        """Write down the number of the newest message."""
        path = self.folder / RECORDED
        part_path(path).write_text(str(number))
        part_path(path).replace(path)

    def write(self, wanted: Range) -> Range:
        """Write a range, or as much of its beginning as fits into the database's memory; return what was written.

        Raises:
            OutboxFailed: it could not be written; nothing of it is left.
            StorageError: the database is not open.
        """
        folder = self.folder / f"{wanted.name}.part"
        try:
            folder.mkdir(mode=0o700)
            self._copy(wanted, folder)
            sync_folder(folder)
            folder.rename(self.folder / wanted.name)
            sync_folder(self.folder)
        except OutOfMemoryException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if wanted.first == wanted.last:
                raise OutboxFailed(f"message {wanted.first} is too large for the recorder's memory") from error
            return self.write(Range(wanted.first, (wanted.first + wanted.last) // 2))
        except (Error, OSError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise OutboxFailed(f"the outbox {self.folder} cannot be written: {first_line(error)}") from error
        return wanted

    def _copy(self, wanted: Range, folder: Path) -> None:
        with self._database.cursor() as cursor:
            cursor.execute("BEGIN")  # a day that moves to the archive meanwhile is in neither or both of two snapshots
            numbered = {name: columns for name, columns in tables(cursor).items() if "number" in columns}
            archived = cursor.execute(_ARCHIVED, {"first": wanted.first}).fetchall()
            schema = "main" if archived else "live"
            for name, rows in _counts(cursor, schema, numbered, wanted).items():
                path = folder / f"{name}.parquet"
                columns = ", ".join(identifier(each) for each in numbered[name] if not _left_out(name, each))
                sql = f"SELECT {columns} FROM {schema}.{identifier(name)} WHERE {_within(wanted)} ORDER BY number"
                target = f"{literal(str(path))} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
                ((written,),) = cursor.execute(f"COPY ({sql}) TO {target}").fetchall()
                if written != rows:
                    raise OutboxFailed(f"{path} has {written} rows, the database {rows}")
                sync_file(path)
            cursor.execute("COMMIT")


def read_number(path: Path) -> int:
    """Return the number in a file, 0 if there is none."""
    try:
        return int(path.read_text() or 0)
    except (FileNotFoundError, ValueError):
        return 0


def _counts(cursor: DuckDBPyConnection, schema: str, numbered: Mapping[str, object], wanted: Range) -> dict[str, int]:
    """Return how many rows of the range each table has, without tables that have none."""
    each = (f"SELECT {literal(name)}, count(*) FROM {schema}.{identifier(name)} WHERE {_within(wanted)}" for name in numbered)
    return {name: rows for name, rows in cursor.execute(" UNION ALL ".join(each)).fetchall() if rows}


def _within(wanted: Range) -> str:
    return f"number BETWEEN {wanted.first} AND {wanted.last}"


def _left_out(table: str, column: str) -> bool:
    return table == MESSAGES and column in NOT_FORWARDED
