"""One question to the recorder and its answer, message by message: the protocol of `storage/query` without any I/O."""

import secrets
from dataclasses import dataclass

from adapters.client.bus import Received
from adapters.client.errors import Unreachable
from broker.contract.storage.topics import ANSWER, JSON, QUERY, QueryEnd, QueryRequest
from broker.errors import Rejected
from broker.exchange import FINAL, PART
from broker.message import Publication, decode, encode


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of an answer: one Arrow stream, or a JSON array of row objects."""

    payload: bytes
    content_type: str


class Question:
    """A request with its correlation data, and what of the answer has come so far.

    Publish `publication` with `response_topic`, subscribed before; then give every message for which `is_answer` is true to
    `take`, until `finished`.
    """

    def __init__(self, request: QueryRequest, client_id: str) -> None:
        self.request = request
        self.correlation_data = secrets.token_bytes(16)
        self.response_topic = ANSWER.template.topic(client=client_id)
        self.finished = False
        self._parts = 0

    @property
    def publication(self) -> Publication:
        """The message that asks."""
        return Publication(
            topic=QUERY.template.topic(),
            payload=encode(self.request),
            correlation_data=self.correlation_data,
            content_type=JSON,
        )

    def is_itself(self, received: Received) -> bool:
        """Tell whether this is the question, handed back by the broker like to any other subscriber."""
        return received.topic == QUERY.template.text and received.correlation_data == self.correlation_data

    def is_answer(self, received: Received) -> bool:
        """Tell whether this is a message of the answer."""
        return received.topic == self.response_topic and received.correlation_data == self.correlation_data

    def take(self, received: Received) -> Part | QueryEnd | None:
        """Take one message of the answer: rows, or the end. None for a part that has already been taken.

        Raises:
            Unreachable: a part is missing, or the message does not follow the protocol.
        """
        if received.property(FINAL) == "true":
            return self._end(received)
        number = _number(received.property(PART))
        if number <= self._parts:
            return None
        if number != self._parts + 1:
            raise _lost(f"part {self._parts + 1} of the answer", number)
        self._parts = number
        return Part(received.payload, received.content_type or "")

    def _end(self, received: Received) -> QueryEnd:
        try:
            end = decode(received.payload, QueryEnd)
        except Rejected as error:
            raise Unreachable(f"the recorder closed its answer with something else: {error}", _SAME_RELEASE) from error
        if end.error is None and end.chunks != self._parts:
            raise _lost(f"{end.chunks - self._parts} of {end.chunks} parts of the answer", end.chunks)
        self.finished = True
        return end


_SAME_RELEASE = "the recorder and this command line must be of the same release"


def _number(text: str | None) -> int:
    if text is None or not text.isascii() or not text.isdigit():
        raise Unreachable(f"the recorder sent a part of an answer with number {text!r}", _SAME_RELEASE)
    return int(text)


def _lost(what: str, at: int) -> Unreachable:
    return Unreachable(
        f"{what} was lost on the way (seen at part {at}): the broker's queue for this client was full",
        "ask for fewer rows (--max-rows, --since), write to a file instead of a slow pipe, or raise max_queued_bytes",
    )
