"""Request and response over MQTT 5 (section 4.10), sans-I/O: the one place that decides whether a reply is complete.

A request carries a response topic and correlation data. Its reply is either one message without marks, or numbered parts and
a final message, marked by user properties:

    part     1, 2, 3, ...   on each part
    final    true           on the final message
    parts    3              on the final message: how many parts came before it

A broker delivers one publisher's messages on a topic in order, and may deliver some of them again after a lost connection.
So a part that was taken before is ignored. A part that skips a number means that one was lost, and the reply is an error.
"""

from dataclasses import dataclass, replace
from itertools import count

from broker.errors import BusError
from broker.message import Message, Publication

PART, FINAL, PARTS = "part", "final", "parts"
"""User properties of a reply's messages."""


class ReplyError(BusError):
    """Root of the errors of replies. `correlation_data` identifies the request, which no longer waits for its reply."""

    def __init__(self, text: str, correlation_data: bytes) -> None:
        super().__init__(text)
        self.correlation_data = correlation_data


class IncompleteReply(ReplyError):
    """A part of the reply was lost, for instance because the broker's queue for this client was full."""


class MalformedReply(ReplyError):
    """A message of the reply does not follow the protocol: the responder is of another release, or not one of ours."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a reply; more will follow."""

    correlation_data: bytes
    number: int
    message: Message


@dataclass(frozen=True, slots=True)
class Final:
    """The last message of a reply, whose `parts` parts have all been taken."""

    correlation_data: bytes
    parts: int
    message: Message


class Exchange:
    """The requests of one client that wait for replies on one response topic.

    Args:
        response_topic: where replies go; a topic that belongs to this client.
        start: token that makes correlation data unique, at least 8 random bytes for each start of the client: replies to
            requests from before a restart may still arrive.
    """

    def __init__(self, response_topic: str, start: bytes) -> None:
        self.response_topic = response_topic
        self._start, self._numbers = start, count(1)
        self._taken: dict[bytes, int] = {}
        """Number of parts taken so far, by the correlation data of the request."""

    def __contains__(self, correlation_data: bytes) -> bool:
        """Return whether this request still waits for its reply."""
        return correlation_data in self._taken

    def __len__(self) -> int:
        return len(self._taken)

    def request(self, publication: Publication) -> Publication:
        """Add response topic and correlation data to a publication, and wait for the reply from now on."""
        correlation_data = self._start + next(self._numbers).to_bytes(8)
        self._taken[correlation_data] = 0
        return replace(publication, response_topic=self.response_topic, correlation_data=correlation_data)

    def forget(self, correlation_data: bytes) -> None:
        """Stop waiting for a reply; any message of it that still arrives is ignored."""
        self._taken.pop(correlation_data, None)

    def forget_all(self) -> None:
        """Stop waiting for any reply."""
        self._taken.clear()

    def take(self, message: Message) -> Part | Final | None:
        """Take a message from the response topic; return None if it adds nothing to a reply that is waited for.

        Raises:
            IncompleteReply: a part before this message was lost; the request is forgotten.
            MalformedReply: the message does not follow the protocol; the request is forgotten.
        """
        correlation_data = message.correlation_data or b""
        taken = self._taken.get(correlation_data)
        if taken is None or message.topic != self.response_topic:
            return None
        try:
            return self._taken_next(message, correlation_data, taken)
        except ReplyError:
            self.forget(correlation_data)
            raise

    def _taken_next(self, message: Message, correlation_data: bytes, taken: int) -> Part | Final | None:
        if message.property(PART) is None:
            return self._final(message, correlation_data, taken)
        number = _number(message, PART, correlation_data)
        if number <= taken:
            return None
        if number != taken + 1:
            raise IncompleteReply(f"part {taken + 1} of the reply was lost: part {number} arrived instead", correlation_data)
        self._taken[correlation_data] = number
        return Part(correlation_data, number, message)

    def _final(self, message: Message, correlation_data: bytes, taken: int) -> Final:
        marked = message.property(FINAL) is not None
        parts = _number(message, PARTS, correlation_data) if marked else 0
        if parts > taken:
            raise IncompleteReply(f"{parts - taken} of {parts} parts of the reply were lost", correlation_data)
        if parts < taken:
            raise MalformedReply(f"the reply ends after {parts} parts, but {taken} have arrived", correlation_data)
        self.forget(correlation_data)
        return Final(correlation_data, parts, message)


def part(request: Message, number: int, payload: bytes, content_type: str) -> Publication:
    """Return part `number`, counted from 1, of the reply to `request`, which must have a response topic."""
    return _reply(request, payload, content_type, ((PART, str(number)),))


def final(request: Message, parts: int, payload: bytes, content_type: str) -> Publication:
    """Return the final message of the reply to `request`, after `parts` parts."""
    return _reply(request, payload, content_type, ((FINAL, "true"), (PARTS, str(parts))))


def is_final(publication: Publication) -> bool:
    """Tell whether a publication is the final message of a reply."""
    return (FINAL, "true") in publication.properties


def _reply(request: Message, payload: bytes, content_type: str, marks: tuple[tuple[str, str], ...]) -> Publication:
    return Publication(
        topic=request.response_topic or "",
        payload=payload,
        correlation_data=request.correlation_data,
        content_type=content_type,
        properties=marks,
    )


def _number(message: Message, name: str, correlation_data: bytes) -> int:
    text = message.property(name)
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 18:
        raise MalformedReply(f"the reply has a message with {name}={text!r}: expected a whole number", correlation_data)
    return int(text)
