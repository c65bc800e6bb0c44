"""`GET /export`: all recorded messages of a topic, as CSV or Parquet, of any size.

The file is that of `scaup export`. Its rows are those recorded when the export begins. They are queried and sent piece by
piece, so that neither the recorder's limits nor memory bound their number, and a slow reader makes the queries wait. If one of
them fails, the connection is closed before the end, so that no browser takes the file for a whole one.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from adapters.client.errors import Refused
from adapters.client.rows import ArrowRows
from adapters.client.texts import csv_line, csv_lines
from adapters.http.errors import BadRequest, NotFound, Unavailable
from adapters.http.resource import Resource
from broker.contract.sql import Statement
from broker.contract.storage import questions

if TYPE_CHECKING:
    import pyarrow as pa

MOST_AT_ONCE = 4
PIECE_ROWS, PIECE_BYTES = 20_000, 8 * 1024 * 1024
"""Target size of one query's answer."""
GROUP_ROWS, GROUP_BYTES = 100_000, 32 * 1024 * 1024
"""Target size of a row group of Parquet: many small ones make a file large and slow to read."""
_TYPES = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}

Rows = list[dict[str, Any]]
Piece = tuple[int, int]
"""First and last number of messages that are queried at once."""
Ask = Callable[[Statement], Awaitable[Rows]]
AskArrow = Callable[[Statement], Awaitable[ArrowRows]]


class Exports:
    """Answers requests for files.

    Args:
        ask: queries the recorder; raises ClientError.
        ask_arrow: the same, for Arrow; raises Refused where the answer exceeds a limit.
    """

    def __init__(self, ask: Ask, ask_arrow: AskArrow) -> None:
        self._ask, self._ask_arrow = ask, ask_arrow
        self._running = 0

    def resources(self) -> list[Resource]:
        """Return the resources."""
        return [Resource("/export", GET=self.export)]

    async def export(self, request: Request) -> Response:
        """Answer with the file; `X-Rows` is the number of its rows.

        Raises:
            HttpError: a parameter is wrong (400), nothing is recorded on the topic (404), or too many exports run (503).
            ClientError: the recorder cannot answer.
        """
        topic, form = request.query_params.get("topic", ""), request.query_params.get("format", "csv")
        if not topic:
            raise BadRequest("the parameter topic is missing: /export?topic=a/b&format=csv")
        if form not in _TYPES:
            raise BadRequest(f"there is no format {form[:20]!r}: use {' or '.join(_TYPES)}")
        parts = await self._ask(questions.export_parts(topic))
        if not parts:
            raise NotFound(f"nothing is recorded on the topic {topic[:200]!r}")
        name = re.sub(r"[^\w.-]+", "_", topic, flags=re.ASCII).strip("_")[:100] or "topic"
        headers = {
            "Content-Disposition": f'attachment; filename="{name}.{form}"',
            "X-Rows": str(sum(int(each["rows"]) for each in parts)),
            "Cache-Control": "no-store",
        }
        if request.method == "HEAD":
            response = Response(headers=headers, media_type=_TYPES[form])
            del response.headers["Content-Length"]  # it is not known
            return response
        if self._running >= MOST_AT_ONCE:
            raise Unavailable(f"{MOST_AT_ONCE} exports run already: wait for one of them")
        return StreamingResponse(self._file(topic, form, pieces(parts)), headers=headers, media_type=_TYPES[form])

    async def _file(self, topic: str, form: str, wanted: list[Piece]) -> AsyncIterator[bytes]:
        self._running += 1
        try:
            written = _csv(self._read(topic, wanted)) if form == "csv" else _parquet(self._read(topic, wanted))
            async for part in written:
                yield part
        finally:
            self._running -= 1

    async def _read(self, topic: str, wanted: list[Piece]) -> AsyncIterator[ArrowRows]:
        """Yield the rows piece by piece; one that exceeds a limit is halved."""
        waiting = wanted[::-1]
        while waiting:
            first, last = waiting.pop()
            try:
                yield await self._ask_arrow(questions.export(topic, first, last))
            except Refused:
                if first >= last:
                    raise
                middle = (first + last) // 2
                waiting += [(middle + 1, last), (first, middle)]


def pieces(parts: Rows) -> list[Piece]:
    """Join the rows of `broker.contract.storage.questions.export_parts` to pieces of a target size."""
    found: list[Piece] = []
    rows = size = 0
    for each in parts:
        rows, size = rows + each["rows"], size + each["bytes"]
        if found and rows <= PIECE_ROWS and size <= PIECE_BYTES:
            found[-1] = found[-1][0], each["last"]
        else:
            found.append((each["first"], each["last"]))
            rows, size = each["rows"], each["bytes"]
    return found


async def _csv(read: AsyncIterator[ArrowRows]) -> AsyncIterator[bytes]:
    begun = False
    async for rows in read:
        if not begun:
            yield csv_line(rows.columns)
            begun = True
        yield await asyncio.to_thread(_lines, rows)


def _lines(rows: ArrowRows) -> bytes:
    return b"".join(map(csv_lines, rows.chunks()))


async def _parquet(read: AsyncIterator[ArrowRows]) -> AsyncIterator[bytes]:
    writer, sink = None, _Sink()
    gathered: list[pa.RecordBatch] = []
    async for rows in read:
        writer = writer or _writer(sink, rows.schema)
        gathered += rows.source
        if sum(each.num_rows for each in gathered) >= GROUP_ROWS or sum(each.nbytes for each in gathered) >= GROUP_BYTES:
            await asyncio.to_thread(_write, writer, gathered)
            gathered = []
            yield sink.take()
    assert writer is not None  # nothing recorded: 404
    await asyncio.to_thread(_write, writer, gathered)
    await asyncio.to_thread(writer.close)
    yield sink.take()


def _writer(sink: "_Sink", schema: "pa.Schema") -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetWriter(sink, schema, compression="zstd")


def _write(writer: Any, batches: "list[pa.RecordBatch]") -> None:
    import pyarrow as pa

    if batches:
        writer.write_table(pa.Table.from_batches(batches))


class _Sink:
    """A file that is sent while it is written."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def write(self, content: Any) -> int:
        """Keep what is written until it is taken."""
        part = bytes(content)
        self._parts.append(part)
        self._length += len(part)
        return len(part)

    def take(self) -> bytes:
        """Return what was written since the last call."""
        content = b"".join(self._parts)
        self._parts.clear()
        return content

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self._length

    def flush(self) -> None:
        """Do nothing: what is written is taken."""

    def close(self) -> None:
        """Do nothing: what is written is taken."""

    def readable(self) -> bool:
        """Return that it cannot be read."""
        return False

    def writable(self) -> bool:
        """Return that it can be written."""
        return True

    def seekable(self) -> bool:
        """Return that it cannot go back."""
        return False
