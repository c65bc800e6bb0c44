"""Any number of recorded rows, in the order of arrival, in as many queries as the recorder's limits need.

The recorder numbers its messages without a gap, and a recorded message never changes. So a selection up to the number that is
the last one at the start is a consistent cut, however long it takes to read it and whatever is recorded meanwhile.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters.client.answers import Answer, arrow_request
from adapters.client.errors import Refused, Unreachable, WrongUsage
from adapters.client.session import Session, rows_of
from broker.contract.sql import EVERYTHING, Condition, identifier
from broker.contract.storage.topics import QueryRequest

if TYPE_CHECKING:
    import pyarrow as pa

MESSAGES = "messages"
NUMBER = "number"
NO_LIMIT = 1 << 62
"""Rows. The recorder lowers it to its own limit; a file that no recorder has open has none."""

_IN_PIECES = (
    "export messages by FILTER or --table, which come in pieces; or query piece by piece with WHERE; or stop the recorder: "
    "the file has no limit but --timeout"
)
_RECEIVED_AT = "received_at"
_FIRST_WIDTH = 2_000
_MOST_GROWTH = 4
_SHRINK = 8
_PATIENCE_S = 30.0
_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows of a table or view: some of its columns, with their types, under a condition."""

    table: str
    schema: "pa.Schema"
    condition: Condition

    def sql(self, columns: str = "", tail: str = "") -> str:
        """Return the query for the rows, or for other expressions over them."""
        columns = columns or ", ".join(map(identifier, self.schema.names))
        return f"SELECT {columns} FROM {identifier(self.table)} WHERE {self.condition.sql}{tail}"  # noqa: S608 - quoted, values are parameters


@dataclass(frozen=True, slots=True)
class Extent:
    """Number of rows of a selection, and their first and last number, which are 1 and 0 where there are none."""

    rows: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class PageSize:
    """Target size of one answer, in rows and in bytes of Arrow."""

    rows: int = 100_000
    bytes: int = 32 * 1024 * 1024


def select(session: Session, table: str, condition: Condition, wanted: tuple[str, ...] = ()) -> Selection:
    """Select rows of a table: those of the `wanted` columns that it has, else all of them.

    Raises:
        ClientError: there is no answer, or no such table.
        WrongUsage: the condition is on the time of reception, which the table does not have.
    """
    import pyarrow as pa

    with session.query(_request(f"SELECT * FROM {identifier(table)} LIMIT 1", {})) as answer:  # noqa: S608 - quoted
        schema: pa.Schema = answer.rows.schema
        for _ in answer.rows.source:
            pass
    if condition is not EVERYTHING and _RECEIVED_AT not in schema.names:
        raise WrongUsage(f"{table} has no column {_RECEIVED_AT}: --since and --until cannot be used", "use --sql with WHERE")
    return Selection(table, pa.schema([each for each in schema if not wanted or each.name in wanted]), condition)


def is_numbered(session: Session, selection: Selection) -> bool:
    """Return whether each row has a number of its own, so that the selection can be read in pieces.

    Raises:
        ClientError: there is no answer.
    """
    import pyarrow as pa

    if NUMBER not in selection.schema.names or not pa.types.is_integer(selection.schema.field(NUMBER).type):
        return False
    if selection.table == MESSAGES:
        return True
    sql = selection.sql(f"count(*) = count(DISTINCT {NUMBER}) AS each")
    return bool(rows_of(session, sql, selection.condition.parameters)[0]["each"])


def extent(session: Session, selection: Selection) -> Extent:
    """Return the extent of what is selected now.

    Raises:
        ClientError: there is no answer.
    """
    sql = selection.sql(f"count(*) AS rows, coalesce(min({NUMBER}), 1) AS first, coalesce(max({NUMBER}), 0) AS last")
    return Extent(**rows_of(session, sql, selection.condition.parameters)[0])


def pages(session: Session, selection: Selection, extent: Extent, size: PageSize) -> "Iterator[list[pa.RecordBatch]]":
    """Return the rows of an extent in the order of their numbers, page by page; each is in memory as a whole.

    A page beyond a limit of the recorder is queried again in smaller pieces. When recorder or broker become unreachable in the
    middle, their return is awaited.

    Raises:
        ClientError: there is no answer for half a minute, or one row alone exceeds a limit.
    """
    after, width = extent.first - 1, _FIRST_WIDTH
    while after < extent.last:
        until = min(after + width, extent.last)
        try:
            page = _patiently(session, _page_request(selection, after, until), may_wait=after >= extent.first)
        except Refused:
            if until - after <= 1:
                raise
            page = None
        if page is None:
            width = max(1, (until - after) // _SHRINK)
            continue
        yield page
        after, width = until, _next_width(until - after, page, size)


@contextmanager
def one_answer(
    session: Session, sql: str, parameters: dict[str, Any], timeout_s: float | None = None
) -> "Iterator[tuple[pa.Schema, Iterator[list[pa.RecordBatch]]]]":
    """Return columns and rows of one query, whose answer is bounded by the recorder's limits.

    From the database file it may take `timeout_s`, with the time to write the rows, and has no other limit.

    Raises:
        ClientError: there is no answer, or the SQL is refused or wrong.
        Refused: the answer was cut; raised after its last row.
    """
    with session.query(arrow_request(sql, parameters, NO_LIMIT, timeout_s)) as answer:
        yield answer.rows.schema, _uncut(answer)


def _uncut(answer: Answer) -> "Iterator[list[pa.RecordBatch]]":
    for batch in answer.rows.source:
        yield [batch]
    if answer.truncated:
        raise Refused("there are more rows than the recorder answers at once", _IN_PIECES)


def _next_width(width: int, page: "list[pa.RecordBatch]", size: PageSize) -> int:
    rows, found = sum(each.num_rows for each in page), sum(each.nbytes for each in page)
    growth = min(_MOST_GROWTH, size.rows / max(rows, 1), size.bytes / max(found, 1))
    return max(1, int(width * growth))


def _page_request(selection: Selection, after: int, until: int) -> tuple[str, dict[str, Any]]:
    tail = f" AND {NUMBER} > {after} AND {NUMBER} <= {until} ORDER BY {NUMBER}"
    return selection.sql(tail=tail), selection.condition.parameters


def _patiently(session: Session, request: tuple[str, dict[str, Any]], *, may_wait: bool) -> "list[pa.RecordBatch] | None":
    """Return a page; None where it was cut."""
    deadline_s: float | None = None
    while True:
        try:
            with session.query(_request(*request)) as answer:
                page = [each for each in answer.rows.source if each.num_rows]
                return None if answer.truncated else page
        except Unreachable as error:
            if deadline_s is None:
                deadline_s = time.monotonic() + (_PATIENCE_S if may_wait else 0)
                if may_wait:
                    session.warn(f"{error.message}; trying again for {_PATIENCE_S:.0f} s")
            if time.monotonic() >= deadline_s:
                raise
            time.sleep(_PAUSE_S)


def _request(sql: str, parameters: dict[str, Any]) -> QueryRequest:
    return arrow_request(sql, parameters, NO_LIMIT, None)
