"""Recorded messages, oldest first, in as many queries as it takes, and live messages as rows of the same shape."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from adapters.client.answers import arrow_request
from adapters.client.bus import Received
from adapters.client.rows import ArrowRows
from adapters.client.session import Session
from broker.contract.sql import Condition, selection
from broker.contract.storage.topics import QueryRequest

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("received_at", "event_at", "topic", "payload", "payload_raw", "qos", "retain", "source", "boot", "seq")
"""The columns of `messages` that a live message has too."""
_NUMBER = "number"

_CUT = """
number <= coalesce((SELECT min(number) FROM messages WHERE topic = 'storage/query' AND contains(payload, $cut)
                    AND received_at > now() - INTERVAL 1 HOUR), 9223372036854775807)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The messages on `topic_filter` since `since_at`, or the last `lines` of them.

    `cut` is a text that occurs in no other message. The history then ends with its own query, which is recorded like every
    message and has the text among its parameters. So what came later on the bus is not in the history, even if it is recorded
    before the recorder answers.
    """

    topic_filter: str
    since_at: datetime | None = None
    lines: int | None = None
    cut: str | None = None

    def request(self, after: int | None = None) -> QueryRequest:
        """Return the request for what comes after the message `after`, for the beginning without it.

        Numbers are the order of messages; times of reception go back where a clock was put right.
        """
        condition = selection(self.topic_filter, self.since_at)
        if self.cut is not None:
            condition &= Condition(_CUT, {"cut": self.cut})
        if after is not None:
            condition &= Condition(f"{_NUMBER} > {after}", {})
        sql = f"SELECT {', '.join(COLUMNS)}, {_NUMBER} FROM messages WHERE {condition.sql}"  # noqa: S608 - values are parameters
        if self.lines is not None:
            sql = f"SELECT * FROM ({sql} ORDER BY {_NUMBER} DESC LIMIT {self.lines})"  # noqa: S608 - a whole number
        return arrow_request(f"{sql} ORDER BY {_NUMBER}", condition.parameters)


def read(session: Session, history: History) -> ArrowRows:
    """Return the whole history, with one more query for each answer that is cut at a limit on rows.

    Raises:
        ClientError: there is no answer; also while the rows are read.
    """
    import pyarrow as pa

    batches = _batches(session, history)
    first = next(batches, None)
    if first is None:
        return ArrowRows(pa.schema([(name, pa.string()) for name in COLUMNS]), ())
    return ArrowRows(first.schema, chain([first], batches))


def _batches(session: Session, history: History) -> "Iterator[pa.RecordBatch]":
    after: int | None = None
    truncated = True
    while truncated:
        with session.query(history.request(after)) as answer:
            for batch in answer.rows.source:
                after = last_number(batch, after)
                yield batch.select(COLUMNS)
            truncated = answer.truncated


def last_number(batch: "pa.RecordBatch", before: int | None) -> int | None:
    """Return the number of the last message of an answer's batch, `before` for an empty one."""
    return batch.column(_NUMBER)[-1].as_py() if batch.num_rows else before


def live_row(received: Received) -> tuple[Any, ...]:
    """Return a received message as a row of `COLUMNS`; a stamp that Scaup would not have written is left out."""
    text, raw = _text(received.payload)
    return (
        received.at,
        received.stamp.plant_at,
        received.topic,
        text,
        raw,
        received.qos,
        received.retain,
        received.stamp.source,
        received.stamp.boot,
        received.stamp.seq,
    )


def _text(payload: bytes) -> tuple[str | None, bytes | None]:
    try:
        return payload.decode(), None
    except UnicodeDecodeError:
        return None, payload
