"""The export of a topic: every message of it, whatever the limits of one query."""

import asyncio
import csv
import io
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from starlette.requests import Request
from starlette.responses import StreamingResponse

from adapters.client.errors import Refused
from adapters.client.rows import ArrowRows
from adapters.http.errors import BadRequest, NotFound
from adapters.web.export import PIECE_BYTES, PIECE_ROWS, Exports, pieces
from broker.contract.sql import Statement

MESSAGES = 25_000
"""Enough for several pieces."""


class Recording:
    """A recording that refuses answers of more than `most` rows."""

    def __init__(self, most: int = 1_000_000) -> None:
        self.most, self.database = most, duckdb.connect()
        self.database.execute(
            "CREATE TABLE messages AS SELECT i AS number, make_timestamptz(i) AS received_at, NULL::TIMESTAMPTZ AS event_at, "
            "if(i % 2 = 0, 'a/b', 'c') AS topic, 'é,' || i AS payload, NULL::BLOB AS payload_raw, 1::UTINYINT AS qos, "
            f"false AS retain, 's' AS source, 'b' AS boot, i AS seq FROM range({2 * MESSAGES}) t(i)"
        )

    async def rows(self, statement: Statement) -> list[dict[str, Any]]:
        found = self.database.execute(statement.sql, statement.parameters)
        columns = [each[0] for each in found.description or ()]
        return [dict(zip(columns, row, strict=True)) for row in found.fetchall()]

    async def arrow(self, statement: Statement) -> ArrowRows:
        table = self.database.sql(statement.sql, params=statement.parameters).to_arrow_reader(1_000).read_all()
        if table.num_rows > self.most:
            raise Refused("too many rows")
        return ArrowRows(table.schema, table.to_batches())


def export(recording: Recording, query: str, method: str = "GET") -> tuple[bytes, Any]:
    async def run() -> tuple[bytes, Any]:
        scope = {"type": "http", "method": method, "path": "/export", "query_string": query.encode(), "headers": []}
        response = await Exports(recording.rows, recording.arrow).export(Request(scope))
        content = b""
        if isinstance(response, StreamingResponse):
            content = b"".join([part if isinstance(part, bytes) else bytes(part) async for part in response.body_iterator])  # type: ignore[arg-type]
        return content, response.headers

    return asyncio.run(run())


@pytest.mark.parametrize("most", [1_000_000, 777])
def test_a_file_has_every_message_in_order(most: int) -> None:
    recording = Recording(most)
    text, headers = export(recording, "topic=a/b&format=csv")
    rows = list(csv.DictReader(io.StringIO(text.decode())))
    assert [row["payload"] for row in rows] == [f"é,{number}" for number in range(0, 2 * MESSAGES, 2)]
    content, _ = export(recording, "topic=a/b&format=parquet")
    assert pq.read_table(io.BytesIO(content))["number"].to_pylist() == list(range(0, 2 * MESSAGES, 2))
    assert headers["X-Rows"] == str(MESSAGES)
    assert headers["Content-Disposition"] == 'attachment; filename="a_b.csv"'


def test_rows_are_counted_before_they_are_sent() -> None:
    content, headers = export(Recording(), "topic=a/b&format=parquet", "HEAD")
    assert (content, headers["X-Rows"]) == (b"", str(MESSAGES))


def test_what_cannot_be_exported_is_refused() -> None:
    recording = Recording()
    for query, error in (("", BadRequest), ("topic=a/b&format=exe", BadRequest), ("topic=a/c", NotFound)):
        with pytest.raises(error):
            export(recording, query)


def test_pieces_are_neither_many_nor_large() -> None:
    parts = [{"first": 10 * part, "last": 10 * part + 9, "rows": PIECE_ROWS // 2, "bytes": 1} for part in range(5)]
    assert pieces(parts) == [(0, 19), (20, 39), (40, 49)]
    assert pieces([{**each, "bytes": PIECE_BYTES} for each in parts[:2]]) == [(0, 9), (10, 19)]
