"""Writing millions of rows: the bytes of `adapters.cli.output.output`, made batch by batch instead of row by row."""

import csv
import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, Any

from adapters.cli.output.output import Format, csv_line
from adapters.cli.output.values import as_csv, as_json
from adapters.client.rows import ArrowRows, plain

if TYPE_CHECKING:
    import pyarrow as pa

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GROUP_ROWS = 100_000
_GROUP_BYTES = 64 * 1024 * 1024


def write(rows: ArrowRows, file: IO[bytes], output_format: Format) -> None:
    """Write all rows in one of the formats that have no end to their length.

    Raises:
        KeyError: the format is one for people.
    """
    WRITERS[output_format](rows, file)
    file.flush()


def _write_csv(rows: ArrowRows, file: IO[bytes]) -> None:
    file.write(csv_line(rows.columns))
    for batch in rows.source:
        text = io.StringIO()
        columns = [_as_csv_values(column) for column in batch.columns]
        csv.writer(text, lineterminator="\n").writerows(zip(*columns, strict=True))
        file.write(text.getvalue().encode("utf-8", "surrogateescape"))


def _write_jsonl(rows: ArrowRows, file: IO[bytes]) -> None:
    for lines in _json_lines(rows):
        file.write(b"\n".join(lines) + b"\n")


def _write_json(rows: ArrowRows, file: IO[bytes]) -> None:
    separator = b"[\n"
    for lines in _json_lines(rows):
        file.write(separator + b",\n".join(lines))
        separator = b",\n"
    file.write(b"[]\n" if separator == b"[\n" else b"\n]\n")


def _json_lines(rows: ArrowRows) -> Iterator[list[bytes]]:
    for batch in rows.source:
        if batch.num_rows:
            values = zip(*map(python_values, batch.columns), strict=True)
            yield [as_json(dict(zip(rows.columns, row, strict=True))) for row in values]


def _write_parquet(rows: ArrowRows, file: IO[bytes]) -> None:
    import pyarrow.parquet as pq

    schema, batches = rows.batches()
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _grouped(schema, batches):
            writer.write_table(group)


def _grouped(schema: "pa.Schema", batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.Table]":
    """Gather batches to row groups: small ones make a file slow to read and large."""
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


def _as_csv_values(column: "pa.Array[Any]") -> list[Any]:
    import pyarrow as pa

    values = python_values(column)
    kind = column.type
    as_they_are = pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return values if as_they_are or column.null_count == len(column) else [as_csv(value) for value in values]


def python_values(column: "pa.Array[Any]") -> list[Any]:
    """Return Python values; Arrow itself takes long to make instants with a time zone."""
    import pyarrow as pa

    column = plain(column)
    if column.null_count == len(column):
        return [None] * len(column)
    if pa.types.is_timestamp(column.type) and column.type.tz and column.type.unit == "us":
        numbers = column.cast(pa.int64()).to_pylist()
        return [None if each is None else _EPOCH + timedelta(microseconds=each) for each in numbers]
    return list(column.to_pylist())


WRITERS: dict[Format, Callable[[ArrowRows, IO[bytes]], None]] = {
    Format.CSV: _write_csv,
    Format.JSONL: _write_jsonl,
    Format.JSON: _write_json,
    Format.PARQUET: _write_parquet,
}
"""The formats of `scaup export`."""
