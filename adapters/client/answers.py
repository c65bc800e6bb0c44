"""Answers to questions in SQL, wherever they come from: the recorder while it runs, else the database file."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adapters.client import recorder
from adapters.client.bus import Bus
from adapters.client.errors import Unreachable
from adapters.client.question import Part, Question
from adapters.client.rows import ArrowRows
from broker.contract.storage.topics import ARROW, AnswerFormat, QueryEnd, QueryRequest

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from storage.query.limits import Limits
    from storage.query.sandbox import QueryResult


@dataclass(slots=True)
class Answer:
    """Rows that are still arriving. `truncated` is known when they have been read."""

    rows: ArrowRows
    truncated: bool = field(default=False, init=False)


def from_recorder(bus: Bus, request: QueryRequest) -> Answer:
    """Ask the recorder; returns when the first rows are here, so that errors come before any output.

    Raises:
        CommandError: the recorder does not answer, or answers with an error.
    """
    question = Question(request, bus.client_id)
    arriving = _Arriving(recorder.answer(bus, question))
    result = Answer(ArrowRows(arriving.schema, ()))
    result.rows.source = arriving.batches(result)
    return result


class _Arriving:
    """The Arrow batches of an answer, part by part."""

    def __init__(self, parts: Generator[Part, None, QueryEnd]) -> None:
        self._parts = parts
        self._end: QueryEnd | None = None
        self._first: list[pa.RecordBatch] = []
        self.schema = self._read_first()

    def _next(self) -> Part | None:
        try:
            return next(self._parts)
        except StopIteration as stop:
            self._end = stop.value
            return None

    def _read_first(self) -> "pa.Schema":
        import pyarrow as pa

        part = self._next()
        if part is None:
            assert self._end is not None
            return pa.schema([(name, pa.string()) for name in self._end.columns])
        schema, self._first = read_arrow(part)
        return schema

    def batches(self, answer: Answer) -> "Iterator[pa.RecordBatch]":
        yield from self._first
        while self._end is None and (part := self._next()) is not None:
            yield from read_arrow(part)[1]
        answer.truncated = self._end is not None and self._end.truncated


def read_arrow(part: Part) -> "tuple[pa.Schema, list[pa.RecordBatch]]":
    """Read a part that is an Arrow stream.

    Raises:
        Unreachable: it is something else.
    """
    import pyarrow as pa
    from pyarrow import ipc

    if part.content_type != ARROW:
        raise Unreachable(f"the recorder answered in {part.content_type!r}", "use the same release on both sides")
    try:
        with ipc.open_stream(part.payload) as reader:
            return reader.schema, list(reader)
    except pa.ArrowInvalid as error:
        raise Unreachable(f"a part of the answer is not an Arrow stream: {error}", "see `scaup logs recorder`") from error


def rows_from_recorder(bus: Bus, request: QueryRequest, patience_s: float) -> list[dict[str, Any]]:
    """Ask the recorder for a short answer in JSON: quick to start, without Arrow; wait `patience_s` at most for each part.

    Raises:
        CommandError: the recorder does not answer, or answers with an error.
    """
    import orjson

    question = Question(
        QueryRequest(sql=request.sql, parameters=request.parameters, timeout_s=request.timeout_s), bus.client_id
    )
    return [row for part in recorder.answer(bus, question, patience_s) for row in orjson.loads(part.payload)]


def from_file(connection: "duckdb.DuckDBPyConnection", request: QueryRequest) -> Answer:
    """Ask the database file, opened by `Session.open_file`.

    Raises:
        CommandError: the statement is refused or wrong.
    """
    from storage.query.sandbox import execute

    with _query_errors(request):
        found = execute(connection, request, _own_limits(request))
    result = Answer(ArrowRows(found.schema, ()))
    result.rows.source = _read(found, result, request)
    return result


def _own_limits(request: QueryRequest) -> "Limits":
    """The file is ours alone: what the request asks for may exceed the limits that the recorder has for its askers."""
    from storage.query.limits import Limits

    usual = Limits()
    return Limits(
        max_rows=request.max_rows or usual.max_rows, timeout_s=request.timeout_s or usual.timeout_s, max_bytes=1 << 40
    )


def _read(found: "QueryResult", answer: Answer, request: QueryRequest) -> "Iterator[pa.RecordBatch]":
    with _query_errors(request):
        yield from found
    answer.truncated = found.truncated


@contextmanager
def _query_errors(request: QueryRequest) -> Generator[None]:
    from storage.errors import QueryFailed

    try:
        yield
    except QueryFailed as error:
        raise recorder.query_error(error.error, request.sql) from error


def arrow_request(
    sql: str, parameters: dict[str, Any] | list[Any], max_rows: int | None, timeout_s: float | None
) -> QueryRequest:
    """Return a request for Arrow."""
    return QueryRequest(sql=sql, parameters=parameters, format=AnswerFormat.ARROW, max_rows=max_rows, timeout_s=timeout_s)
