"""Answers to queries: rows in bounded chunks, then a closing message with counts or the error."""

import base64
import logging
import time
from collections.abc import Iterator
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from broker.contract.storage import ANSWER, ARROW, FINAL, JSON, PART, AnswerFormat, QueryEnd, QueryError, QueryRequest
from broker.errors import Rejected
from broker.message import Message, Publication, decode, encode
from storage.commit import Database
from storage.errors import QueryFailed, StorageError
from storage.query import Answer, Limits, execute

log = logging.getLogger(__name__)

CHUNK_BYTES = 256 * 1024


def may_answer(message: Message) -> bool:
    """Tell whether the response topic is one that the recorder may publish to."""
    return message.response_topic is not None and ANSWER.parse(message.response_topic) is not None


def answer(message: Message, database: Database, limits: Limits) -> Iterator[Publication]:
    """Answer one request on its response topic, chunk by chunk; the last publication is marked as final.

    Whatever goes wrong is told to the asker in that last message.
    """
    started_s = time.monotonic()
    rows, chunks = 0, 0
    columns: list[str] = []
    truncated, error = False, None
    try:
        request = _request(message)
        with database.cursor() as cursor:
            result = execute(cursor, request, limits)
            columns = result.schema.names
            for table in _chunks(result):
                rows, chunks = rows + table.num_rows, chunks + 1
                yield _part(message, request.format, table, chunks)
            truncated = result.truncated
    except QueryFailed as failure:
        error = failure.error
    except StorageError as failure:
        error = QueryError("failed", str(failure))
    except (ValueError, OverflowError, MemoryError, RecursionError, pa.ArrowException, duckdb.Error) as failure:
        log.exception("a query failed")
        error = QueryError("failed", f"{type(failure).__name__}: {failure}")
    end = QueryEnd(rows, chunks, time.monotonic() - started_s, columns, truncated, error)
    yield _publication(message, encode(end), JSON, (FINAL, "true"))


def _request(message: Message) -> QueryRequest:
    try:
        return decode(message.payload, QueryRequest)
    except Rejected as error:
        raise QueryFailed(QueryError("invalid", f"the request cannot be used: {error}")) from error


def _chunks(result: Answer) -> Iterator[pa.Table]:
    """Gather batches to chunks of about `CHUNK_BYTES`; there is at least one, which tells the columns' types."""
    gathered: list[pa.RecordBatch] = []
    size, sent = 0, False
    for batch in result:
        gathered.append(batch)
        size += batch.nbytes
        if size >= CHUNK_BYTES:
            yield pa.Table.from_batches(gathered)
            gathered, size, sent = [], 0, True
    if gathered or not sent:
        yield pa.Table.from_batches(gathered, schema=result.schema)


def _part(message: Message, form: AnswerFormat, table: pa.Table, number: int) -> Publication:
    payload, content_type = (_arrow_stream(table), ARROW) if form is AnswerFormat.ARROW else (_json(table), JSON)
    return _publication(message, payload, content_type, (PART, str(number)))


def _publication(message: Message, payload: bytes, content_type: str, mark: tuple[str, str]) -> Publication:
    return Publication(
        topic=message.response_topic or "",
        payload=payload,
        correlation_data=message.correlation_data,
        content_type=content_type,
        properties=(mark,),
    )


def _arrow_stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _json(table: pa.Table) -> bytes:
    columns = [_plain(column) for column in table.columns]
    rows = [dict(zip(table.column_names, values, strict=True)) for values in zip(*columns, strict=True)]
    return orjson.dumps(rows, default=_json_value, option=orjson.OPT_NON_STR_KEYS)


def _plain(column: pa.ChunkedArray) -> list[Any]:
    """Return a column as JSON knows values: decimals as numbers; times as text, since Python has not all of DuckDB's."""
    if pa.types.is_timestamp(column.type):
        mark = "Z" if column.type.tz else ""
        text = pc.strftime(column.cast(pa.timestamp(column.type.unit)), "%Y-%m-%dT%H:%M:%S")
        return [None if value is None else value + mark for value in text.to_pylist()]
    if pa.types.is_decimal(column.type):
        return [_decimal(value) for value in column.to_pylist()]
    return list(column.to_pylist())


def _decimal(value: Any) -> int | float | None:
    if value is None:
        return None
    return int(value) if value == value.to_integral_value() and abs(value) < 2**63 else float(value)


def _json_value(value: Any) -> Any:
    """Say in JSON what JSON has no type for: bytes as base64, everything else as text."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
