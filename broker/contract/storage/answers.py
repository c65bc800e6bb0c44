"""Asking the recorder, sans-I/O: the request, the rows of a part, and what the final message says of the whole answer.

`broker.exchange` decides whether all parts came; here a client learns whether they are the rows that it asked for.
"""

from typing import Any

from broker.contract.storage.topics import JSON, QUERY, QueryEnd, QueryError, QueryRequest
from broker.errors import BusError, Rejected
from broker.exchange import Final, MalformedReply, Part
from broker.message import Publication, decode, decode_json, encode


class QueryFailed(BusError):
    """The recorder could not answer a query; `error` is what it says."""

    def __init__(self, error: QueryError) -> None:
        super().__init__(error.message)
        self.error = error


class AnswerCut(BusError):
    """The answer was cut at a limit on rows, although all of them are needed."""


def query(request: QueryRequest) -> Publication:
    """Return the publication that asks the recorder; `Exchange.request` adds the response topic and correlation data."""
    return Publication(topic=QUERY.template.topic(), payload=encode(request), content_type=JSON)


def rows(part: Part) -> list[dict[str, Any]]:
    """Return the rows of a part that was asked for in JSON.

    Raises:
        MalformedReply: it is something else.
    """
    try:
        found = decode_json(part.message.payload)
    except Rejected as error:
        raise _unreadable(part, str(error)) from error
    if not isinstance(found, list):
        raise _unreadable(part, "it is no array of rows")
    return found


def end(final: Final, whole: bool = True) -> QueryEnd:
    """Return what the final message says of the answer.

    Args:
        final: the final message.
        whole: the client needs every row, so an answer that was cut at a limit on rows is an error.

    Raises:
        QueryFailed: the recorder could not answer.
        AnswerCut: there are more rows than the recorder answers at once, and `whole` asks for all of them.
        MalformedReply: the message is something else.
    """
    try:
        told = decode(final.message.payload, QueryEnd)
    except Rejected as error:
        raise MalformedReply(f"the recorder closed its answer with something else: {error}", final.correlation_data) from error
    if told.error is not None:
        raise QueryFailed(told.error)
    if whole and told.truncated:
        raise AnswerCut(f"there are more rows than the {told.rows:,} that the recorder answers at once")
    return told


def _unreadable(part: Part, why: str) -> MalformedReply:
    return MalformedReply(f"part {part.number} of the recorder's answer cannot be read: {why}", part.correlation_data)
