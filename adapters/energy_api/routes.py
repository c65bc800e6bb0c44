"""`POST /data` and `GET /data`.

A post is checked in this order, and the answer names the first mistake: its size, its content type, that it is a JSON object
and names a ship, and that its sender may post for that ship. The normalizer checks the rest. A body that is refused here is
published to `rejected/energy-api`, unless its sender may not post it; one that goes to the normalizer is recorded anyway.
"""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from adapters.client.aio import AsyncExchange
from adapters.client.aio_recorder import RecorderClient
from adapters.energy_api.commit_watch import CommitWatch, post_of
from adapters.energy_api.declaration import CLIENT
from adapters.energy_api.parameters import json_text, read_period, read_ship
from adapters.energy_api.quarters import body_of, request_for
from adapters.http.access import require_topic
from adapters.http.errors import BadRequest, HttpError, JsonResponse, Unavailable
from adapters.http.resource import Resource, read_body, while_connected
from broker.contract.energy.topics import RAW, Stored
from broker.contract.storage.topics import JSON
from broker.errors import BrokerUnavailable, Rejected
from broker.log import Log
from broker.message import Message, Publication, decode
from broker.runtime.component import Bus
from broker.runtime.rejection import rejection

log = Log(__name__)

LARGEST_BODY_BYTES = 32 * 1024 * 1024
MAX_CONCURRENT = 256
"""Requests, each of which may hold a body."""
WITHIN_S = 4.5
"""Time from the whole request to its answer, whatever is unreachable."""
REJECTION_TIMEOUT_S = 1.5
POSTED = "POST /data"
_FRESH = {"Cache-Control": "no-store"}
_FULL = "there is no room"
"""Beginning of the normalizer's error when the fault is not the post's."""


class Routes:
    """Answers requests with the help of normalizer and recorder; `bus` must be set before the first request."""

    def __init__(self, normalizer: AsyncExchange, recorder: RecorderClient, within_s: float = WITHIN_S) -> None:
        self._normalizer, self._recorder, self._within_s = normalizer, recorder, within_s
        self._commits = CommitWatch(recorder)
        self.bus: Bus | None = None

    def resources(self) -> list[Resource]:
        """Return the resources of this API."""
        return [Resource("/data", GET=self.quarters, POST=self.store)]

    async def quarters(self, request: Request) -> Response:
        """Answer with a ship's quarters in a period.

        Raises:
            HttpError: the query string cannot be read, or the client has left; then the query is stopped.
            ClientError: there is no whole answer of the recorder.
        """
        assert self.bus is not None
        period = read_period(request.query_params)
        require_topic(request, RAW.template.topic(ship=period.ship))
        query = self._recorder.query_in_turn(self.bus, request_for(period, self._within_s), self._within_s)
        rows = await while_connected(request, query)
        return JsonResponse(body_of(period, rows), headers=_FRESH)

    async def store(self, request: Request) -> Response:
        """Pass a post on to the normalizer, and answer when the recorder has it and its quarters.

        Raises:
            HttpError: anything in the post is wrong, or the normalizer has no place for it.
            ClientError: normalizer, recorder or broker have not answered in time.
        """
        assert self.bus is not None
        body = await read_body(request, LARGEST_BODY_BYTES)
        try:
            _check_type(request)
            text = json_text(body)
            ship = read_ship(text)
        except HttpError as error:
            await self._reject(body, error.text)
            raise
        require_topic(request, RAW.template.topic(ship=ship))
        ends_s = asyncio.get_running_loop().time() + self._within_s
        post = Publication(topic=RAW.template.topic(ship=ship), payload=text, content_type=JSON)
        answer = (await self._normalizer.request(self.bus, post, self._within_s)).final.message
        stored = _stored(answer)
        left_s = ends_s - asyncio.get_running_loop().time()
        await self._commits.require(self.bus, post_of(post.topic, text, answer), left_s)
        result = {"spaceship_id": stored.spaceship_id, "stored": stored.stored, "skipped": stored.skipped}
        return JsonResponse(result, 201)

    async def _reject(self, body: bytes, reason: str) -> None:
        """Publish a refused body. The client gets its error even while the broker is unreachable."""
        assert self.bus is not None
        try:
            await self.bus.deliver(rejection(CLIENT, POSTED, body, reason), REJECTION_TIMEOUT_S)
        except BrokerUnavailable as error:
            log.warning(
                "rejection-lost",
                "a refused body of %(size)d bytes (%(reason)s) could not be published: %(error)s",
                size=len(body),
                reason=reason,
                error=error,
            )


def _check_type(request: Request) -> None:
    """Accept `application/json` with any parameters, without a content encoding.

    Raises:
        HttpError: the body is something else (415).
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != JSON:
        raise HttpError(415, f"Content-Type: must be {JSON}, not {media_type[:60]!r}")
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        raise HttpError(415, f"Content-Encoding: {encoding[:60]!r} is not taken: send the JSON as it is")


def _stored(answer: Message) -> Stored:
    try:
        stored = decode(answer.payload, Stored)
    except Rejected as error:
        log.error("answer-unreadable", "the normalizer's answer cannot be read: %(error)s", error=error)
        raise Unavailable("the normalizer's answer cannot be read") from error
    if stored.error is None:
        return stored
    raise Unavailable(stored.error) if stored.error.startswith(_FULL) else BadRequest(stored.error)
