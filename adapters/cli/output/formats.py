"""The formats of a result, each with its writer. To add one: a member of `Format`, and a line in `_WRITERS`."""

import sys
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import IO, TYPE_CHECKING, NamedTuple

from adapters.client.rows import Result, Row
from adapters.client.texts import as_json, csv_line, csv_lines

if TYPE_CHECKING:
    import pyarrow as pa

_GROUP_ROWS = 100_000
_GROUP_BYTES = 64 * 1024 * 1024


class Format(Enum):
    """The formats of `-o`."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"
    MARKDOWN = "markdown"

    @classmethod
    def of_suffix(cls, suffix: str) -> "Format | None":
        """Return the format of files whose names end in `suffix`, such as `.csv`; None for any other."""
        return next((each for each in cls if suffix.lower() in (f".{each.value}", *_WRITERS[each].suffixes)), None)

    @property
    def for_people(self) -> bool:
        """Whether people read it: then values are shortened, and the whole result is held in memory."""
        return _WRITERS[self].for_people

    @property
    def by_row(self) -> "ByRow | None":
        """The functions that write it one row at a time; None where it cannot be written so."""
        return _WRITERS[self].by_row

    def write(self, result: Result, file: IO[bytes]) -> None:
        """Write a whole result."""
        _WRITERS[self].write(result, file)
        file.flush()


class ByRow(NamedTuple):
    """Writes rows one at a time, as they arrive: first the header, then a line for each row."""

    header: Callable[[Sequence[str]], bytes]
    line: Callable[[Sequence[str], Row], bytes]


class _Writer(NamedTuple):
    write: Callable[[Result, IO[bytes]], None]
    by_row: ByRow | None = None
    for_people: bool = False
    suffixes: tuple[str, ...] = ()
    """Endings of file names that mean this format, besides its own name."""


def json_line(columns: Sequence[str], row: Row) -> bytes:
    """Return one row as a JSON object with a line end."""
    return as_json(dict(zip(columns, row, strict=True))) + b"\n"


def _write_csv(result: Result, file: IO[bytes]) -> None:
    file.write(csv_line(result.columns))
    for chunk in result.chunks():
        file.write(csv_lines(chunk))
        file.flush()


def _write_jsonl(result: Result, file: IO[bytes]) -> None:
    for objects in _json_objects(result):
        file.write(b"\n".join(objects) + b"\n")
        file.flush()


def _write_json(result: Result, file: IO[bytes]) -> None:
    separator = b"[\n"
    for objects in _json_objects(result):
        file.write(separator + b",\n".join(objects))
        separator = b",\n"
    file.write(b"[]\n" if separator == b"[\n" else b"\n]\n")


def _json_objects(result: Result) -> Iterator[list[bytes]]:
    for chunk in result.chunks():
        yield [as_json(dict(zip(result.columns, row, strict=True))) for row in zip(*chunk, strict=True)]


def _write_parquet(result: Result, file: IO[bytes]) -> None:
    import pyarrow.parquet as pq

    schema, batches = result.batches()
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _grouped(schema, batches):
            writer.write_table(group)


def _grouped(schema: "pa.Schema", batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.Table]":
    """Gather batches into row groups: many small ones make a file large and slow to read."""
    import pyarrow as pa

    gathered: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        gathered.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield pa.Table.from_batches(gathered, schema)
            gathered, rows, size = [], 0, 0
    if gathered:
        yield pa.Table.from_batches(gathered, schema)


def _write_markdown(result: Result, file: IO[bytes]) -> None:
    from adapters.cli.output.table import markdown_table

    file.write(markdown_table(result.columns, list(result.rows())).encode())


def _write_table(result: Result, file: IO[bytes]) -> None:
    """Write a table as wide as the terminal, or as wide as needed where the file is not one."""
    from adapters.cli.output.table import text_table

    on_terminal = file is sys.stdout.buffer and sys.stdout.isatty()
    file.write(text_table(result.columns, list(result.rows()), on_terminal).encode())


_WRITERS = {
    Format.TABLE: _Writer(_write_table, for_people=True, suffixes=(".txt",)),
    Format.CSV: _Writer(_write_csv, ByRow(csv_line, lambda _columns, row: csv_line(row))),
    Format.JSON: _Writer(_write_json),
    Format.JSONL: _Writer(_write_jsonl, ByRow(lambda _columns: b"", json_line), suffixes=(".ndjson",)),
    Format.PARQUET: _Writer(_write_parquet),
    Format.MARKDOWN: _Writer(_write_markdown, for_people=True, suffixes=(".md",)),
}
