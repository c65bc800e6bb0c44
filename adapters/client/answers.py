"""Answers to queries: rows that are still arriving, and what is wrong with them. `Recorder` and the database file give them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from adapters.client.errors import BrokenReply, ClientError, Failed, Refused, WrongUsage
from adapters.client.requests import SAME_RELEASE
from adapters.client.rows import ArrowRows
from broker.contract.storage import answers
from broker.contract.storage.topics import ARROW, AnswerFormat, QueryEnd, QueryError, QueryRequest
from broker.exchange import Final, MalformedReply, Part

if TYPE_CHECKING:
    import pyarrow as pa

LOOK = "see `scaup logs recorder` and `scaup doctor`"
NARROW = "narrow it with --since"


@dataclass(slots=True)
class Answer:
    """Rows that are still arriving. `truncated` is known when they have been read."""

    rows: ArrowRows
    truncated: bool = field(default=False, init=False)

    def all_rows(self) -> list[dict[str, Any]]:
        """Read an answer that fits into memory, as one mapping per row.

        Raises:
            Refused: there are more rows than are answered at once.
            ClientError: the answer is an error.
        """
        columns = self.rows.columns
        found = [dict(zip(columns, row, strict=True)) for row in self.rows.rows()]
        if self.truncated:
            raise Refused(f"the answer has more than {len(found):,} rows", NARROW)
        return found


class Source(Protocol):
    """Answers queries: the recorder, or a database file that no recorder has open."""

    live: bool
    """Whether messages may be recorded between two queries."""

    def query(self, request: QueryRequest) -> Answer:
        """Return the answer when its first rows are here, so that errors come before any output.

        Raises:
            ClientError: there is no answer, or it is an error; also while the rows are read.
        """
        ...


def arrow_request(
    sql: str, parameters: dict[str, Any] | list[Any], max_rows: int | None = None, timeout_s: float | None = None
) -> QueryRequest:
    """Return a request for rows in Arrow."""
    return QueryRequest(sql=sql, parameters=parameters, format=AnswerFormat.ARROW, max_rows=max_rows, timeout_s=timeout_s)


def arriving(replies: Iterator[Part | Final], sql: str) -> Answer:
    """Return the answer to `sql` from the messages of its reply, when the first rows are here.

    Raises:
        BrokenReply: a message is something else; also while the rows are read.
        ClientError: the answer is an error, see `query_error`; also while the rows are read.
    """
    batches = _Batches(replies, sql)
    result = Answer(ArrowRows(batches.schema, ()))
    result.rows.source = batches.read(result)
    return result


class _Batches:
    """The Arrow batches of an answer, part by part."""

    def __init__(self, replies: Iterator[Part | Final], sql: str) -> None:
        self._replies, self._sql = replies, sql
        self._end: QueryEnd | None = None
        self._first: list[pa.RecordBatch] = []
        self.schema = self._read_first()

    def _next(self) -> Part | None:
        event = next(self._replies)
        if isinstance(event, Part):
            return event
        self._end = end_of(event, self._sql)
        return None

    def _read_first(self) -> "pa.Schema":
        import pyarrow as pa

        part = self._next()
        if part is None:
            assert self._end is not None
            return pa.schema([(name, pa.string()) for name in self._end.columns])
        schema, self._first = read_arrow(part)
        return schema

    def read(self, answer: Answer) -> "Iterator[pa.RecordBatch]":
        yield from self._first
        while self._end is None and (part := self._next()) is not None:
            yield from read_arrow(part)[1]
        answer.truncated = self._end is not None and self._end.truncated


def end_of(final: Final, sql: str, whole: bool = False) -> QueryEnd:
    """Return what the final message reports of the answer to `sql`.

    Raises:
        Refused: the answer was cut at a limit on rows, although the `whole` of it is needed.
        BrokenReply: the message is something else.
        ClientError: the answer is an error, see `query_error`.
    """
    try:
        return answers.end(final, whole)
    except answers.AnswerError as error:
        raise query_error(error.error, sql) from error
    except answers.AnswerTruncated as error:
        raise Refused(str(error), NARROW) from error
    except MalformedReply as error:
        raise BrokenReply(str(error), SAME_RELEASE) from error


def read_json(part: Part) -> list[dict[str, Any]]:
    """Return the rows of a part in JSON.

    Raises:
        BrokenReply: it is something else.
    """
    try:
        return answers.rows(part)
    except MalformedReply as error:
        raise BrokenReply(str(error), SAME_RELEASE) from error


def read_arrow(part: Part) -> "tuple[pa.Schema, list[pa.RecordBatch]]":
    """Return schema and batches of a part that is an Arrow stream.

    Raises:
        BrokenReply: it is something else.
    """
    import pyarrow as pa
    from pyarrow import ipc

    if part.message.content_type != ARROW:
        raise BrokenReply(f"the recorder answered in {part.message.content_type!r}", SAME_RELEASE)
    try:
        with ipc.open_stream(part.message.payload) as reader:
            return reader.schema, list(reader)
    except pa.ArrowInvalid as error:
        raise BrokenReply(f"a part of the answer is not an Arrow stream: {error}", "see `scaup logs recorder`") from error


def arrow_rows(parts: Sequence[Part], columns: Sequence[str]) -> ArrowRows:
    """Return the rows of all parts of an answer.

    Raises:
        BrokenReply: a part is no Arrow stream.
    """
    import pyarrow as pa

    read = [read_arrow(each) for each in parts]
    schema = read[0][0] if read else pa.schema([(name, pa.string()) for name in columns])
    return ArrowRows(schema, [batch for _, batches in read for batch in batches])


def query_error(error: QueryError, sql: str) -> ClientError:
    """Return the client's error for one of a query, with the place in the SQL where that is known."""
    if error.kind == "refused":
        return Refused(error.message, "only one read-only SELECT statement can be asked")
    if error.kind == "limit":
        return Refused(
            error.message, "narrow it with WHERE or LIMIT; --timeout and --max-rows cannot exceed the recorder's own"
        )
    if error.kind == "invalid":
        return WrongUsage(_pointed(error, sql), "correct the SQL; `scaup tables` lists tables and columns")
    return Failed(error.message, LOOK)


def _pointed(error: QueryError, sql: str) -> str:
    if error.position is None or not 0 <= error.position <= len(sql):
        return error.message
    start = sql.rfind("\n", 0, error.position) + 1
    line, column = sql[start:].split("\n", 1)[0], error.position - start
    cut = max(0, column - 60)
    shown = line[cut : cut + 100].replace("\t", " ")
    message = error.message.split("\n\nLINE ", 1)[0].split("\nLINE ", 1)[0].rstrip()
    return f"{message}\n  {shown}\n  {' ' * (column - cut)}^"
