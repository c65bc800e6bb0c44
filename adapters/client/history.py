"""What was recorded on some topics, oldest first, in as many questions as the recorder's limit on rows needs."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING

from adapters.client.answers import arrow_request
from adapters.client.messages import COLUMNS
from adapters.client.rows import ArrowRows
from adapters.client.session import Session
from broker.contract.sql import Condition, selection
from broker.contract.storage.topics import QueryRequest

if TYPE_CHECKING:
    import pyarrow as pa

_CUT = """
received_at <= coalesce((SELECT min(received_at) FROM messages WHERE topic = 'storage/query' AND contains(payload, $cut)
                         AND received_at > now() - INTERVAL 1 HOUR), 'infinity'::TIMESTAMPTZ)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The messages on `topic_filter` since `since_at`, or the last `lines` of them.

    `cut` is a text that occurs in no other message: the history then ends with the message that asks for it, since the text is
    one of its parameters and questions are recorded like every message. So what came later on the bus is not in it, even if it
    is recorded by the time the recorder answers.
    """

    topic_filter: str
    since_at: datetime | None = None
    lines: int | None = None
    cut: str | None = None

    def request(self, after_at: datetime | None = None) -> QueryRequest:
        """Return the request for what comes after `after_at`, for the beginning without it."""
        condition = selection(self.topic_filter, self.since_at)
        if self.cut is not None:
            condition &= Condition(_CUT, {"cut": self.cut})
        if after_at is not None:
            condition &= Condition("received_at > $after::TIMESTAMPTZ", {"after": after_at.astimezone(UTC).isoformat()})
        sql = f"SELECT {', '.join(COLUMNS)} FROM messages WHERE {condition.sql}"  # noqa: S608 - values are parameters
        if self.lines is not None:
            sql = f"SELECT * FROM ({sql} ORDER BY received_at DESC LIMIT {self.lines})"  # noqa: S608 - a whole number
        return arrow_request(f"{sql} ORDER BY received_at", condition.parameters, None, None)


def read(session: Session, history: History) -> ArrowRows:
    """Return the whole history, asking again as often as the answer was cut.

    Raises:
        ClientError: nobody can answer; also while the rows are read.
    """
    import pyarrow as pa

    batches = _batches(session, history)
    first = next(batches, None)
    if first is None:
        return ArrowRows(pa.schema([(name, pa.string()) for name in COLUMNS]), ())
    return ArrowRows(first.schema, chain([first], batches))


def _batches(session: Session, history: History) -> "Iterator[pa.RecordBatch]":
    after_at: datetime | None = None
    truncated = True
    while truncated:
        with session.ask(history.request(after_at)) as answer:
            for batch in answer.rows.source:
                after_at = newest_at(batch) or after_at
                yield batch
            truncated = answer.truncated


def newest_at(batch: "pa.RecordBatch") -> datetime | None:
    """Return when the last message of a batch was received, None for an empty one."""
    return batch.column("received_at")[-1].as_py() if batch.num_rows else None
