"""Answers to queries: rows in bounded chunks, then a closing message with counts or the error."""

import time
from collections.abc import Iterator
from typing import Any

import duckdb
import msgspec
import orjson
import pyarrow as pa

from broker.contract.storage import ANSWER, AnswerFormat, QueryEnd, QueryError, QueryRequest
from broker.message import Message, Publication, decode, encode
from storage.errors import QueryFailed
from storage.query import Limits, execute

ARROW = "application/vnd.apache.arrow.stream"
JSON = "application/json"
CHUNK_BYTES = 256 * 1024


def answer(message: Message, connection: duckdb.DuckDBPyConnection, limits: Limits) -> Iterator[Publication]:
    """Answer one request on its response topic, chunk by chunk; the last publication has the user property `final`.

    Raises:
        Rejected: the request has no response topic that the recorder may publish to, so nobody can be told.
    """
    started_s = time.monotonic()
    rows, chunks = 0, 0
    columns: list[str] = []
    truncated, error = False, None
    try:
        request = decode_request(message)
        result = execute(connection, request, limits)
        columns = result.schema.names
        for table in _chunks(result):
            rows, chunks = rows + table.num_rows, chunks + 1
            yield _part(message, request.format, table, chunks)
        truncated = result.truncated
    except QueryFailed as failure:
        error = failure.error
    end = QueryEnd(rows, chunks, time.monotonic() - started_s, columns, truncated, error)
    yield _publication(message, encode(end), JSON, ("final", "true"))


def decode_request(message: Message) -> QueryRequest:
    """Decode a request.

    Raises:
        QueryFailed: it is not JSON or has not the shape of a request.
    """
    try:
        return decode(message.payload, QueryRequest)
    except ValueError as error:
        raise QueryFailed(QueryError("invalid", f"the request cannot be used: {error}")) from error


def may_answer(message: Message) -> bool:
    """Tell whether the response topic is one that the recorder may publish to."""
    return message.response_topic is not None and ANSWER.parse(message.response_topic) is not None


def _chunks(batches: Any) -> Iterator[pa.Table]:
    """Gather batches to chunks of about `CHUNK_BYTES`; there is at least one, which tells the columns' types."""
    gathered: list[pa.RecordBatch] = []
    sent = False
    for batch in batches:
        gathered.append(batch)
        if sum(each.nbytes for each in gathered) >= CHUNK_BYTES:
            yield pa.Table.from_batches(gathered)
            gathered, sent = [], True
    if gathered or not sent:
        yield pa.Table.from_batches(gathered, schema=batches.schema)


def _part(message: Message, form: AnswerFormat, table: pa.Table, number: int) -> Publication:
    if form is AnswerFormat.ARROW:
        return _publication(message, _arrow_stream(table), ARROW, ("part", str(number)))
    rows = orjson.dumps(table.to_pylist(), default=_json_value, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z)
    return _publication(message, rows, JSON, ("part", str(number)))


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


def _json_value(value: Any) -> Any:
    """Say in JSON what JSON has no type for: bytes as base64, everything else as text."""
    return msgspec.to_builtins(value) if isinstance(value, bytes | memoryview) else str(value)
