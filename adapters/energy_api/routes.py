"""`POST /data` and `GET /data`.

A post is checked in this order, and the first thing that is wrong is what the answer says: its size, its content type, that it
is a JSON object and names a ship; all else is the normalizer's to say. What is refused here is published, whole, to
`rejected/energy-api`; what goes to the normalizer is recorded anyway.
"""

import asyncio
import base64
import logging
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from adapters.energy_api.asking import read_period, read_ship
from adapters.energy_api.declaration import CLIENT
from adapters.energy_api.quarters import body_of, request_for
from adapters.energy_api.recorded import Recorded, post_of
from adapters.energy_api.recorder import Recorder
from adapters.http.body import read_body
from adapters.http.errors import HttpError, JsonResponse, NotReadable, Unavailable
from adapters.http.exchange import Exchange
from adapters.http.resource import Resource
from broker.contract.components.topics import REJECTED, RejectedMessage
from broker.contract.energy.topics import RAW, Stored
from broker.contract.storage.topics import JSON
from broker.errors import BrokerUnavailable, Rejected
from broker.message import Message, Publication, decode
from broker.runtime.component import Bus

log = logging.getLogger(__name__)

LARGEST_BODY_BYTES = 32 * 1024 * 1024
MOST_AT_ONCE = 256
"""Requests, each of which may hold a body."""
WITHIN_S = 4.5
"""From the whole request to its answer, whatever is away."""
KEEP_TIMEOUT_S = 1.5
POSTED = "POST /data"
_FRESH = {"Cache-Control": "no-store"}
_FULL = "there is no place"
"""So begins what the normalizer says when it is not the post that is wrong."""


class Routes:
    """Answers requests by asking the normalizer and the recorder; `bus` is there as soon as requests are."""

    def __init__(self, normalizer: Exchange, recorder: Recorder, within_s: float = WITHIN_S) -> None:
        self._normalizer, self._recorder, self._within_s = normalizer, recorder, within_s
        self._recorded = Recorded(recorder)
        self.bus: Bus | None = None

    def resources(self) -> list[Resource]:
        """Return what is served."""
        return [Resource("/data", GET=self.quarters, POST=self.store)]

    async def quarters(self, request: Request) -> Response:
        """Answer with a ship's quarters in a period.

        Raises:
            HttpError: the query cannot be read, or recorder or broker are away.
        """
        assert self.bus is not None
        period = read_period(request.query_params)
        rows = await self._recorder.ask_in_turn(self.bus, request_for(period, self._within_s), self._within_s)
        return JsonResponse(body_of(period, rows), headers=_FRESH)

    async def store(self, request: Request) -> Response:
        """Pass a post on to the normalizer, and answer when the recorder has it and its quarters.

        Raises:
            HttpError: anything in the post is wrong, or normalizer, recorder or broker are away.
        """
        assert self.bus is not None
        body = await read_body(request, LARGEST_BODY_BYTES)
        try:
            _check_type(request)
            ship = read_ship(body)
        except HttpError as error:
            await self._keep(body, error.text)
            raise
        ends_s = asyncio.get_running_loop().time() + self._within_s
        post = Publication(topic=RAW.template.topic(ship=ship), payload=body, content_type=JSON)
        answer = await self._normalizer.ask(self.bus, post, self._within_s)
        stored = _stored(answer)
        left_s = ends_s - asyncio.get_running_loop().time()
        await self._recorded.require(self.bus, post_of(post.topic, body, answer), left_s)
        told = {"spaceship_id": stored.spaceship_id, "stored": stored.stored, "skipped": stored.skipped}
        return JsonResponse(told, 201)

    async def _keep(self, body: bytes, reason: str) -> None:
        """Publish what was refused. Whoever posted it learns that it was wrong even while the broker is away."""
        assert self.bus is not None
        try:
            await self.bus.deliver(REJECTED.publication(_rejected(body, reason), component=CLIENT), KEEP_TIMEOUT_S)
        except BrokerUnavailable as error:
            log.warning("a refused body of %d bytes (%s) could not be kept: %s", len(body), reason, error)


def _check_type(request: Request) -> None:
    """Take `application/json` with any parameters, as it is.

    Raises:
        HttpError: it is something else (415).
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
        log.error("the normalizer's answer cannot be read: %s", error)
        raise Unavailable("the normalizer's answer cannot be read") from error
    if stored.error is None:
        return stored
    raise Unavailable(stored.error) if stored.error.startswith(_FULL) else NotReadable(stored.error)


def _rejected(body: bytes, reason: str) -> RejectedMessage:
    try:
        text, encoding = body.decode(), "utf-8"
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(body).decode(), "base64"
    return RejectedMessage(topic=POSTED, reason=reason, payload=text, at=datetime.now(UTC), encoding=encoding)
