"""Storage: questions to the recorder, its answers, and how it is doing."""

from datetime import datetime
from enum import Enum
from typing import Annotated, Any

import msgspec

from broker.stream import AnyStream, Stream
from broker.topics import TopicTemplate


class AnswerFormat(Enum):
    """How the rows of an answer are encoded."""

    ARROW = "arrow"
    JSON = "json"


class QueryRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One read-only SQL statement for the recorder, published with a response topic `storage/answer/{client}`.

    `parameters` fill `?` or `$name`; `max_rows` and `timeout_s` can lower the recorder's own limits, not raise them.
    """

    sql: Annotated[str, msgspec.Meta(min_length=1)]
    parameters: list[Any] | dict[str, Any] = []
    format: AnswerFormat = AnswerFormat.JSON
    max_rows: Annotated[int, msgspec.Meta(ge=1)] | None = None
    timeout_s: Annotated[float, msgspec.Meta(gt=0)] | None = None


class QueryError(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a query has no (complete) answer. `position` counts characters of the SQL from 0, where it is known."""

    kind: str
    message: str
    position: int | None = None


class QueryEnd(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last message of every answer: what was sent before it, or the error.

    `chunks` counts the messages before this one, `truncated` says that `max_rows` cut the result.
    """

    rows: int
    chunks: int
    elapsed_s: float
    columns: list[str] = []
    truncated: bool = False
    error: QueryError | None = None


class RecorderStats(msgspec.Struct, frozen=True):
    """Counts since the recorder started, times in seconds over the last minute, sizes in bytes."""

    at: datetime
    received: int
    committed: int
    acknowledged: int
    duplicates: int
    rejected: int
    dropped: int
    queued: int
    commit_p50_s: float
    commit_p99_s: float
    database_bytes: int
    wal_bytes: int
    free_bytes: int
    last_error: str | None


QUERY = Stream(
    template=TopicTemplate("storage/query"),
    payload=QueryRequest,
    summary="operator → recorder: SQL, with response topic and correlation data",
)
ANSWER = Stream(
    template=TopicTemplate("storage/answer/{client}"),
    payload=QueryEnd,
    summary="recorder → whoever asked: chunks of rows, then a closing message",
)
STATS = Stream(
    template=TopicTemplate("storage/stats"),
    payload=RecorderStats,
    summary="recorder → all, every second",
    retain=True,
)
STREAMS: tuple[AnyStream, ...] = (QUERY, ANSWER, STATS)
