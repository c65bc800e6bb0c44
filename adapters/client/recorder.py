"""The recorder over a connection to the broker: queries with their rows, and requests such as archiving a day."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

from adapters.client.answers import LOOK, Answer, arriving, end_of, read_json
from adapters.client.bus import Bus
from adapters.client.errors import BrokenReply, Failed, Stalled, WrongUsage
from adapters.client.requests import SAME_RELEASE, Requests, Responder
from broker.contract.components.topics import STATE
from broker.contract.storage import answers
from broker.contract.storage.topics import (
    ANSWER,
    JSON,
    REQUEST,
    STATS,
    Progress,
    QueryRequest,
    RecorderStats,
    RequestEnd,
    StorageRequest,
)
from broker.errors import Rejected
from broker.exchange import Final, Part
from broker.message import Publication, decode, encode

P = TypeVar("P")

PATIENCE_S = 65.0
"""How long to wait for the first part of an answer, and between two: longer than the recorder's own longest query."""
REQUEST_PATIENCE_S = 900.0
"""How long to wait for the progress of a request: one step of it can take minutes."""
_GRACE_S = 5.0
_STALLED_S = 10.0

RECORDER = Responder("recorder", "recorder", LOOK)
STATE_TOPIC = STATE.template.topic(component="recorder")
STATS_TOPIC = STATS.template.topic()


class Recorder:
    """The recorder over one connection, which it has for its replies; one query or request at a time."""

    live = True

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._requests = Requests(bus, RECORDER, ANSWER.template.topic(client=bus.answer_name))
        self._subscribed = self._unread = False

    def stop(self) -> None:
        """Stop the query whose answer has not been read to its end, if there is one."""
        if self._unread:
            self._unread = False
            self._bus.send(answers.cancel(self._bus.answer_name))

    def query(self, request: QueryRequest) -> Answer:
        """Return the answer when its first rows are here, so that errors come before any output. The request is for Arrow.

        Raises:
            ClientError: the recorder does not answer, or answers with an error; also while the rows are read.
        """
        return arriving(self._query(request, query_patience_s(request)), request.sql)

    def rows(self, request: QueryRequest, patience_s: float) -> list[dict[str, Any]]:
        """Return a short answer, asked for in JSON: quick to start, without Arrow. Each part has `patience_s` to arrive.

        Raises:
            ClientError: the recorder does not answer, or answers with an error.
        """
        found: list[dict[str, Any]] = []
        for event in self._query(request, patience_s):
            if isinstance(event, Final):
                end_of(event, request.sql, whole=True)
            else:
                found += read_json(event)
        return found

    def carry_out(self, request: StorageRequest, on_progress: Callable[[Progress], None]) -> str:
        """Let the recorder do something, and return what it did, as it reports it.

        Raises:
            NotOnline: it stopped in the middle: parts of a day may have moved, none is lost or in two places.
            WrongUsage: the request cannot be carried out as it is.
            Failed: it could not be done; everything is as before.
        """
        publication = Publication(topic=REQUEST.template.topic(), payload=encode(request), content_type=JSON)
        for event in self._replies(publication, REQUEST_PATIENCE_S, expires=False):
            if isinstance(event, Part):
                on_progress(_decoded(event, Progress))
            else:
                return _done(_decoded(event, RequestEnd))
        raise AssertionError("replies end with the final message")

    def _replies(self, publication: Publication, patience_s: float, expires: bool = True) -> Iterator[Part | Final]:
        if not self._subscribed:
            self._requests.subscribe()
            self._subscribed = True
        return self._requests.replies(publication, patience_s, max(1, round(patience_s)) if expires else None)

    def _query(self, request: QueryRequest, patience_s: float) -> Iterator[Part | Final]:
        """Return the messages of an answer. If it is not read to its end, for instance because of Ctrl-C, stop the query."""
        self._unread = True
        try:
            for event in self._replies(answers.query(request), patience_s):
                self._unread = not isinstance(event, Final)
                yield event
        finally:
            self.stop()


def query_patience_s(request: QueryRequest) -> float:
    """Return how long to wait for each part of the answer."""
    return PATIENCE_S if request.timeout_s is None else request.timeout_s + _GRACE_S


def refuse_stalled(bus: Bus) -> None:
    """Raise an error for a recorder that runs but cannot commit now; it reports the reason every second.

    Raises:
        Stalled: it reported so just now.
    """
    retained = bus.retained(STATS_TOPIC).get(STATS_TOPIC)
    stats = None
    if retained is not None:
        with suppress(Rejected):
            stats = decode(retained.payload, RecorderStats)
    if stats is None or stats.last_error is None or (datetime.now(UTC) - stats.at).total_seconds() >= _STALLED_S:
        return
    raise Stalled(
        f"the recorder cannot commit now, and answers when it can: {stats.last_error}",
        "nothing is lost meanwhile: the broker holds what is not acknowledged; `scaup doctor` looks further",
    )


def _done(end: RequestEnd) -> str:
    if end.error is None:
        return end.done or ""
    if end.error.kind == "invalid":
        raise WrongUsage(end.error.message, "see --help")
    raise Failed(end.error.message, "nothing is lost; see `scaup logs recorder` and `scaup doctor`")


def _decoded(event: Part | Final, shape: type[P]) -> P:
    try:
        return decode(event.message.payload, shape)
    except Rejected as error:
        raise BrokenReply(f"the recorder sent something else: {error}", SAME_RELEASE) from error
