"""Storage: questions to the recorder, its answers, and how it is doing."""

from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, Literal

import msgspec

from broker.mqtt.topics import TopicTemplate
from broker.stream import AnyStream, Stream

ARROW = "application/vnd.apache.arrow.stream"
JSON = "application/json"
"""Content types of an answer's chunks: a whole Arrow IPC stream each, or a JSON array of row objects each."""


class AnswerFormat(Enum):
    """Encoding of the rows of an answer."""

    ARROW = "arrow"
    JSON = "json"


class QueryRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One read-only SQL statement for the recorder, published with a response topic `storage/answer/{client}`.

    `parameters` fill `?` or `$name`. `max_rows` and `timeout_s` (seconds from start to last row) can lower the recorder's own
    limits, not raise them.
    """

    sql: Annotated[str, msgspec.Meta(min_length=1)]
    parameters: list[Any] | dict[str, Any] = []
    format: AnswerFormat = AnswerFormat.JSON
    max_rows: Annotated[int, msgspec.Meta(ge=1)] | None = None
    timeout_s: Annotated[float, msgspec.Meta(gt=0)] | None = None


class CancelRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The end of a client's interest in its queries, those with the response topic `storage/answer/{client}`.

    With correlation data it is about the query that has the same. The queries are stopped and get no answer.
    """

    client: Annotated[str, msgspec.Meta(min_length=1)]


class QueryError(msgspec.Struct, frozen=True, omit_defaults=True):
    """The reason why a query has no complete answer. `position`, if known, counts characters of the SQL from 0."""

    kind: str
    message: str
    position: int | None = None


class QueryEnd(msgspec.Struct, frozen=True):
    """The last message of every answer: what was sent before it, or the error.

    Every message of an answer has the request's correlation data. `chunks` counts the messages before this one, `truncated`
    says that `max_rows` cut the result.
    """

    rows: int
    chunks: int
    elapsed_s: float
    columns: list[str]
    truncated: bool
    error: QueryError | None


CLOCK_WARNING = "the wall clock "
"""Beginning of a warning of the recorder that its clock took a step."""


class RecorderStats(msgspec.Struct, frozen=True):
    """Counts of messages since the recorder started, sizes in bytes.

    `commit_p50_s` and `commit_p99_s`: seconds from the arrival of a batch's first message to its commit, over the last minute.
    `dropped` counts messages of QoS 0 for which there was no memory while nothing could be committed. `last_error` is why
    nothing can be committed now; `warning` names another problem: a clock that took a step (`CLOCK_WARNING`), an archive run
    that failed, or a disk that fills.
    """

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
    warning: str | None = None


class Action(Enum):
    """Actions that the operator may request of the recorder."""

    ARCHIVE = "archive"
    RESTORE = "restore"
    BACKUP = "backup"
    CREATE_VIEW = "create-view"
    DROP_VIEW = "drop-view"


class HeldPart(msgspec.Struct, frozen=True, array_like=True):
    """Rows of a table that a backup has: those of the messages `first` to `last`.

    `mark` is the exclusive or of their message numbers and times of arrival, µs since 1970.
    """

    table: str
    first: int
    last: int
    rows: int
    mark: int


class ViewColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A typed column of a view, as a declaration of devices has it: a path, then what is done with the value found there.

    `path` is empty for the whole payload; `low` and `high` are the range.
    """

    name: str
    type: Literal["double", "bigint", "boolean", "varchar", "timestamp"]
    path: tuple[str | int, ...] = ()
    pick: dict[str, bool | int | float | str] = {}
    default: bool | int | float | str | None = None
    strip: str | None = None
    number: bool = False
    map: dict[str, bool | int | float | str] = {}
    scale: float | None = None
    offset: float | None = None
    low: float | None = None
    high: float | None = None


class StorageRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A request for an action, published with a response topic `storage/answer/{client}`.

    `archive`: all days before today, or one `day`; `restore`: one `day`, back into the database; `create-view`: a typed view
    `name` of the messages on the topics of `filter`; `drop-view`: remove the view `name`; `backup`: write what a backup needs
    that has `held` of `database` to the folder `backing-up` of the data directory, marked with `name`.
    """

    action: Action
    day: date | None = None
    name: str | None = None
    filter: str | None = None
    held: tuple[HeldPart, ...] = ()
    database: str | None = None
    columns: tuple[ViewColumn, ...] = ()
    """Of a view that is to be created: without them, they are inferred."""
    time: tuple[str | int, ...] | None = None
    """The path of the device's time, in such a view."""


class Progress(msgspec.Struct, frozen=True):
    """Progress of a request: the step in progress, and how much of it is done."""

    doing: str
    done: int
    total: int


class RequestEnd(msgspec.Struct, frozen=True):
    """The last message about a request: a description of what was done, or the error."""

    done: str | None = None
    error: QueryError | None = None


class Drift(msgspec.Struct, frozen=True):
    """A change in the payloads of a typed stream, reported once for each change in each run of the recorder.

    `stream` is the template of its topics, `topic` the first one on which the change was seen. `expected` and `found` are JSON
    types: `string`, `number`, `boolean`, `null`, `object`, `array`; nothing is expected of a new field.
    """

    at: datetime
    stream: str
    topic: str
    field: str
    change: Literal["new field", "type changed"]
    expected: list[str]
    found: str


class Handover(msgspec.Struct, frozen=True):
    """A mark in the stream of all messages, at which the recorder goes over from one session at the broker to another."""

    id: str


QUERY = Stream(
    template=TopicTemplate("storage/query"),
    payload=QueryRequest,
    summary="operator → recorder: SQL, with response topic and correlation data",
)
REQUEST = Stream(
    template=TopicTemplate("storage/request"),
    payload=StorageRequest,
    summary="operator → recorder: archive, restore, back up or view, with response topic and correlation data",
)
CANCEL = Stream(
    template=TopicTemplate("storage/cancel"),
    payload=CancelRequest,
    summary="client → recorder: stop this client's queries, or the one with this correlation data; the last will of `scaup`",
)
ANSWER = Stream(
    template=TopicTemplate("storage/answer/{client}", deep=True),
    payload=QueryEnd,
    summary="recorder → the client that asked: parts with rows, then a final message",
)
STATS = Stream(
    template=TopicTemplate("storage/stats"),
    payload=RecorderStats,
    summary="recorder → all, every second",
    retain=True,
)
DRIFT = Stream(
    template=TopicTemplate("storage/drift"),
    payload=Drift,
    summary="recorder → all: the shape of a device's payload has changed",
)
HANDOVER = Stream(
    template=TopicTemplate("storage/handover"),
    payload=Handover,
    summary="recorder → recorder: it changes its session at this message",
)
STREAMS: tuple[AnyStream, ...] = (QUERY, REQUEST, CANCEL, ANSWER, STATS, DRIFT, HANDOVER)

ANSWERS: tuple[AnyStream, ...] = (ANSWER,)
"""Only the client that asked may read these."""

OPERATOR_STREAMS: tuple[AnyStream, ...] = (QUERY, CANCEL)
"""Operators may publish these."""

ADMIN_STREAMS: tuple[AnyStream, ...] = (REQUEST,)
"""Administrators may publish these besides, and so may the command line."""
