"""Answers to queries: rows in parts of bounded size, then a final message with the counts or the error."""

import base64
import threading
import time
from collections.abc import Generator, Iterator
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from broker import exchange
from broker.contract.storage.topics import ANSWER, ARROW, JSON, AnswerFormat, QueryEnd, QueryError, QueryRequest
from broker.contract.storage.values import has_common_year, instant_text, python_values
from broker.errors import Rejected
from broker.log import Log
from broker.message import Message, Publication, decode, encode
from storage.database.database import Database
from storage.errors import QueryFailed, StorageError
from storage.query.limits import MAX_PART_BYTES, MAX_REQUEST_BYTES, Cancellation, Limits, limit_error
from storage.query.sandbox import QueryResult, execute

log = Log(__name__)

PART_BYTES = 256 * 1024
"""Rows are gathered, and cut, to parts of one or two times this size. Only one row can be larger, up to `MAX_PART_BYTES`."""
_JSON_PUNCTUATION_BYTES = 6

_CONTENT_TYPES = {AnswerFormat.ARROW: ARROW, AnswerFormat.JSON: JSON}
_LONGEST_PAUSE_S = 0.25
_json_lock = threading.Lock()


def may_answer(message: Message) -> bool:
    """Return whether the response topic is one that the recorder may publish to."""
    return message.response_topic is not None and ANSWER.parse(message.response_topic) is not None


def decode_request(message: Message) -> QueryRequest:
    """Decode a request.

    Raises:
        QueryFailed: it is too large (`limit`) or cannot be used (`invalid`).
    """
    if len(message.payload) > MAX_REQUEST_BYTES:
        raise QueryFailed(limit_error(f"a request has {MAX_REQUEST_BYTES >> 20} MiB at most", "split it"))
    try:
        return decode(message.payload, QueryRequest)
    except Rejected as error:
        raise QueryFailed(QueryError("invalid", f"the request cannot be used: {error}")) from error


def answer(
    message: Message, request: QueryRequest, database: Database, limits: Limits, cancellation: Cancellation
) -> Generator[Publication]:
    """Answer a request on its message's response topic, part by part; the last publication is marked as final.

    That one also carries the error, if there is any. Once the query is cancelled, there is no further publication.
    """
    started_s = time.monotonic()
    rows, parts = 0, 0
    columns: list[str] = []
    truncated, error = False, None
    try:
        with database.cursor() as cursor, cancellation.of(cursor.interrupt):
            if cancellation.requested:
                return
            result = execute(cursor, request, limits)
            columns = result.schema.names
            for table, payload in _payloads(result, request.format):
                yield exchange.part(message, parts + 1, payload, _CONTENT_TYPES[request.format])
                rows, parts = rows + table.num_rows, parts + 1
            truncated = result.truncated
    except QueryFailed as failure:
        error = failure.error
    except StorageError as failure:
        error = QueryError("failed", str(failure))
    except (ValueError, OverflowError, MemoryError, RecursionError, pa.ArrowException, duckdb.Error) as failure:
        log.exception("query-failed", "a query failed")
        error = QueryError("failed", f"{type(failure).__name__}: {failure}")
    if cancellation.requested:
        return
    yield _closing(message, QueryEnd(rows, parts, time.monotonic() - started_s, columns, truncated, error))


def closing(message: Message, error: QueryError, parts: int = 0) -> Publication:
    """Return the final publication of an answer that ends with an error after some parts."""
    return _closing(message, QueryEnd(0, parts, 0.0, [], truncated=False, error=error))


def _closing(message: Message, end: QueryEnd) -> Publication:
    return exchange.final(message, end.chunks, encode(end), JSON)


def _payloads(result: QueryResult, form: AnswerFormat) -> Iterator[tuple[pa.Table, bytes]]:
    for table in _part_tables(result, form):
        yield from _encode(table, form)


def _part_tables(result: QueryResult, form: AnswerFormat) -> Iterator[pa.Table]:
    """Gather batches to tables of about `PART_BYTES`. There is at least one, which holds the types of the columns."""
    gathered: list[pa.RecordBatch] = []
    size, sent = 0, False
    for batch, batch_size in _slices(result, form):
        if gathered and size + batch_size > 2 * PART_BYTES:
            yield pa.Table.from_batches(gathered)
            gathered, size, sent = [], 0, True
        gathered.append(batch)
        size += batch_size
        if size >= PART_BYTES:
            yield pa.Table.from_batches(gathered)
            gathered, size, sent = [], 0, True
    if gathered or not sent:
        yield pa.Table.from_batches(gathered, schema=result.schema)


def _slices(result: QueryResult, form: AnswerFormat) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Cut batches to slices of about `PART_BYTES`, of one row at least, and return each with its size."""
    row_overhead = 0
    if form is AnswerFormat.JSON:  # each row repeats the names of its columns
        row_overhead = sum(len(name.encode()) + _JSON_PUNCTUATION_BYTES for name in result.schema.names)
    for batch in result:
        yield from _halves(batch, batch.slice(0, 0).nbytes, row_overhead)


def _halves(batch: pa.RecordBatch, shared_bytes: int, row_overhead: int) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Halve a batch until each slice is small enough: rows of a batch can differ in size by any factor.

    `nbytes` of a slice counts what its own rows refer to, and `shared_bytes`, such as a dictionary, which no cut makes smaller.
    """
    size = batch.nbytes - shared_bytes + batch.num_rows * row_overhead
    if size <= PART_BYTES or batch.num_rows <= 1:
        yield batch, size
        return
    middle = batch.num_rows // 2
    yield from _halves(batch.slice(0, middle), shared_bytes, row_overhead)
    yield from _halves(batch.slice(middle), shared_bytes, row_overhead)


def _encode(table: pa.Table, form: AnswerFormat) -> Iterator[tuple[pa.Table, bytes]]:
    """Encode a table to one payload, or to more: in JSON, values can take several times their size in Arrow."""
    payload = _arrow_stream(table) if form is AnswerFormat.ARROW else _json_in_turn(table)
    if len(payload) <= MAX_PART_BYTES:
        yield table, payload
        return
    if table.num_rows <= 1:
        raise QueryFailed(limit_error(f"a row takes more than {MAX_PART_BYTES >> 20} MiB", "select less of it"))
    del payload
    middle = table.num_rows // 2
    yield from _encode(table.slice(0, middle), form)
    yield from _encode(table.slice(middle), form)


def _arrow_stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _json_in_turn(table: pa.Table) -> bytes:
    """Encode JSON for one answer at a time, and half of the time at most: Python holds its lock meanwhile, and recording waits.

    Without this, 4 large answers bring 20,000 messages/s down to 2,000.
    """
    with _json_lock:
        started_s = time.monotonic()
        encoded = _json(table)
        time.sleep(min(time.monotonic() - started_s, _LONGEST_PAUSE_S))
    return encoded


def _json(table: pa.Table) -> bytes:
    columns = [_plain(column) for column in table.columns]
    rows = [dict(zip(table.column_names, values, strict=True)) for values in zip(*columns, strict=True)]
    return orjson.dumps(rows, default=_json_value, option=orjson.OPT_NON_STR_KEYS)


def _plain(column: pa.ChunkedArray) -> list[Any]:
    """Return a column as values that JSON has: decimals as numbers; times as text, since Python lacks some of DuckDB's."""
    if pa.types.is_timestamp(column.type):
        return _instants(column)
    if pa.types.is_decimal(column.type):
        return [_decimal(value) for value in column.to_pylist()]
    return python_values(column)


def _instants(column: pa.ChunkedArray) -> list[str | None]:
    unit, mark = column.type.unit, "Z" if column.type.tz else ""
    numbers = column.cast(pa.int64()).to_pylist()
    texts = pc.strftime(column.cast(pa.timestamp(unit)), "%Y-%m-%dT%H:%M:%S").to_pylist()
    return [None if number is None else _instant(number, text, unit, mark) for number, text in zip(numbers, texts, strict=True)]


def _instant(number: int, text: str, unit: str, mark: str) -> str:
    return text + mark if has_common_year(number, unit) else instant_text(number, unit, mark, separator="T")


def _decimal(value: Any) -> int | float | orjson.Fragment | None:
    if value is None:
        return None
    if value != value.to_integral_value():
        return float(value)
    whole = int(value)
    return whole if abs(whole) < 2**63 else orjson.Fragment(str(whole))


def _json_value(value: Any) -> Any:
    """Represent types that JSON lacks: bytes as base64, all others as text."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
