"""Writing a result in the wanted format: to standard output, or to a file."""

import csv
import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from adapters.cli.output.values import as_csv, as_json
from adapters.client.errors import Failed, WrongUsage
from adapters.client.rows import Result, Row

if TYPE_CHECKING:
    from adapters.cli.output.lines import LineWriter

_FLUSH_ROWS = 512


class Format(Enum):
    """The formats of `-o`."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"
    MARKDOWN = "markdown"


_SUFFIXES = {".md": Format.MARKDOWN, ".ndjson": Format.JSONL, ".txt": Format.TABLE}


@dataclass(frozen=True, slots=True)
class Output:
    """Where to write and how; made from the options `-o` and `--output-file`."""

    format: Format
    path: Path | None = None

    @classmethod
    def of(cls, wanted: str | None, path: Path | None) -> "Output":
        """Choose the format: as asked, as the file is called, a table on a terminal, JSON lines in a pipe.

        Raises:
            WrongUsage: Parquet would go to a terminal.
        """
        chosen = Format(wanted) if wanted else _suited_to(path)
        if chosen is Format.PARQUET and path is None and sys.stdout.isatty():
            raise WrongUsage("Parquet is binary and standard output is a terminal", "add --output-file FILE, or pipe it on")
        return cls(chosen, path)

    @property
    def on_terminal(self) -> bool:
        """Whether somebody sees the rows as they are written."""
        return self.path is None and sys.stdout.isatty()

    def write(self, result: Result) -> None:
        """Write a whole result.

        Raises:
            Failed: the file cannot be written.
        """
        with self._opened() as file:
            _WRITERS[self.format](result, file)

    @contextmanager
    def lines(self) -> "Iterator[LineWriter]":
        """Open a writer for messages that come one by one.

        Raises:
            Failed: the file cannot be written.
        """
        from adapters.cli.output.lines import LineWriter

        with self._opened() as file:
            yield LineWriter(file, self.format, self.on_terminal)

    def _opened(self) -> AbstractContextManager[IO[bytes]]:
        if self.path is None:
            return nullcontext(_stdout())
        try:
            return self.path.open("wb")
        except OSError as error:
            raise Failed(f"cannot write {self.path}: {error.strerror}", "choose another --output-file") from error


def _suited_to(path: Path | None) -> Format:
    if path is not None:
        suffix = path.suffix.lower()
        named = {f".{each.value}": each for each in Format} | _SUFFIXES
        return named.get(suffix, Format.JSONL)
    return Format.TABLE if sys.stdout.isatty() else Format.JSONL


def _stdout() -> IO[bytes]:
    sys.stdout.flush()
    return sys.stdout.buffer


def write_jsonl(result: Result, file: IO[bytes]) -> None:
    """Write one JSON object per line."""
    columns = result.columns
    for number, row in enumerate(result.rows(), start=1):
        file.write(json_line(columns, row))
        if number % _FLUSH_ROWS == 0:
            file.flush()
    file.flush()


def json_line(columns: Iterable[str], row: Row) -> bytes:
    """Return one row as a JSON object with a line end."""
    return as_json(dict(zip(columns, row, strict=True))) + b"\n"


def csv_line(row: Iterable[Any]) -> bytes:
    """Return one row of CSV (RFC 4180, but lines end with a line feed only)."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([as_csv(value) for value in row])
    return text.getvalue().encode("utf-8", "surrogateescape")


def write_csv(result: Result, file: IO[bytes]) -> None:
    """Write CSV with a header line."""
    file.write(csv_line(result.columns))
    for row in result.rows():
        file.write(csv_line(row))
    file.flush()


def write_json(result: Result, file: IO[bytes]) -> None:
    """Write one JSON array of objects."""
    separator = b"[\n"
    for row in result.rows():
        file.write(separator + json_line(result.columns, row).rstrip())
        separator = b",\n"
    file.write(b"[]\n" if separator == b"[\n" else b"\n]\n")
    file.flush()


def write_parquet(result: Result, file: IO[bytes]) -> None:
    """Write Parquet, compressed with zstd."""
    import pyarrow.parquet as pq

    schema, batches = result.batches()
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
    file.flush()


def write_markdown(result: Result, file: IO[bytes]) -> None:
    """Write a Markdown table."""
    from adapters.cli.output.table import markdown_table

    file.write(markdown_table(result.columns, list(result.rows())).encode())
    file.flush()


def write_table(result: Result, file: IO[bytes]) -> None:
    """Write a table for people: as wide as the terminal, or as wide as needed where it is not one."""
    from adapters.cli.output.table import text_table

    on_terminal = file is sys.stdout.buffer and sys.stdout.isatty()
    file.write(text_table(result.columns, list(result.rows()), on_terminal).encode())
    file.flush()


_WRITERS = {
    Format.TABLE: write_table,
    Format.CSV: write_csv,
    Format.JSON: write_json,
    Format.JSONL: write_jsonl,
    Format.PARQUET: write_parquet,
    Format.MARKDOWN: write_markdown,
}
