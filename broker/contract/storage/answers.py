"""Queries to the recorder, sans-I/O: the request, the rows of a part, and the end of an answer.

`broker.exchange` checks that all parts came; `end` checks that the recorder could answer, and that no row is missing.
"""

from typing import Any

from broker.contract.storage.topics import CANCEL, JSON, QUERY, CancelRequest, QueryEnd, QueryError, QueryRequest
from broker.errors import BusError, Rejected
from broker.exchange import Final, MalformedReply, Part
from broker.message import Publication, decode, decode_json, encode


class AnswerError(BusError):
    """The recorder answered a query with an error."""

    def __init__(self, error: QueryError) -> None:
        super().__init__(error.message)
        self.error = error


class AnswerTruncated(BusError):
    """The answer was cut at a limit on rows, and the client needs all of them."""


def query(request: QueryRequest) -> Publication:
    """Return a query as a publication; `Exchange.request` adds the response topic and correlation data."""
    return Publication(topic=QUERY.template.topic(), payload=encode(request), content_type=JSON)


def cancel(client: str, correlation_data: bytes | None = None) -> Publication:
    """Return the publication that stops all queries of a client, or the one with this correlation data."""
    payload = encode(CancelRequest(client))
    return Publication(topic=CANCEL.template.topic(), payload=payload, content_type=JSON, correlation_data=correlation_data)


def rows(part: Part) -> list[dict[str, Any]]:
    """Return the rows of a part in JSON.

    Raises:
        MalformedReply: it is not a JSON array of objects.
    """
    try:
        found = decode_json(part.message.payload)
    except Rejected as error:
        raise _unreadable(part, str(error)) from error
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise _unreadable(part, "it is not an array of rows")
    return found


def end(final: Final, whole: bool = True) -> QueryEnd:
    """Return the end of an answer, which reports on the whole of it.

    Args:
        final: the final message.
        whole: the client needs every row, so an answer that was cut at a limit on rows is an error.

    Raises:
        AnswerError: the recorder could not answer.
        AnswerTruncated: there are more rows than the recorder sends for one query, and `whole` is set.
        MalformedReply: the message is not the end of an answer, or of one with another number of parts.
    """
    try:
        found = decode(final.message.payload, QueryEnd)
    except Rejected as error:
        raise MalformedReply(f"the recorder's answer has no readable end: {error}", final.correlation_data) from error
    if found.error is not None:
        raise AnswerError(found.error)
    if found.chunks != final.parts:  # also where something on the way dropped the user properties
        text = f"the recorder counts {found.chunks} parts in its answer, and {final.parts} have come"
        raise MalformedReply(text, final.correlation_data)
    if whole and found.truncated:
        raise AnswerTruncated(f"there are more than {found.rows:,} rows, which is all that the recorder sends for one query")
    return found


def _unreadable(part: Part, why: str) -> MalformedReply:
    return MalformedReply(f"part {part.number} of the recorder's answer cannot be read: {why}", part.correlation_data)
