"""Asks the recorder, over the bus."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from adapters.energy_api.declaration import RECORDED_TOPIC
from adapters.http.errors import Unavailable
from adapters.http.exchange import Exchange
from broker.contract.storage.topics import JSON, QUERY, QueryEnd, QueryRequest
from broker.errors import Rejected
from broker.message import Message, Publication, decode, encode
from broker.runtime.component import Bus

log = logging.getLogger(__name__)

MOST_AT_ONCE = 4
"""Questions of requests to the recorder at the same time, which lets 2 of a client run: one more must not wait for long."""

Rows = list[dict[str, Any]]


class Recorder:
    """Questions to the recorder. Give it every message of the response topic."""

    def __init__(self) -> None:
        self._exchange = Exchange(RECORDED_TOPIC)
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)

    def on_answer(self, message: Message) -> None:
        """Take a message of an answer: arrays of rows come first, an object closes it."""
        self._exchange.on_answer(message, last=not message.payload.startswith(b"["))

    async def ask_in_turn(self, bus: Bus, request: QueryRequest, timeout_s: float) -> Rows:
        """Ask as soon as fewer than `MOST_AT_ONCE` questions are asked in this way; the time counts from now.

        Raises:
            Unavailable: as with `ask`.
        """
        ends_s = asyncio.get_running_loop().time() + timeout_s
        async with self._turn(timeout_s):
            return await self.ask(bus, request, ends_s - asyncio.get_running_loop().time())

    async def ask(self, bus: Bus, request: QueryRequest, timeout_s: float) -> Rows:
        """Ask, and return all rows.

        Raises:
            Unavailable: the recorder or the broker is away, has not answered in time, or the recorder could not answer.
        """
        question = Publication(topic=QUERY.template.topic(), payload=encode(request), content_type=JSON)
        *parts, closing = await self._exchange.ask_all(bus, question, timeout_s)
        _check(closing)
        return [row for part in parts for row in orjson.loads(part.payload)]

    @asynccontextmanager
    async def _turn(self, timeout_s: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(timeout_s):
                await self._turns.acquire()
        except TimeoutError:
            raise Unavailable(f"the recorder has not answered earlier requests within {timeout_s:.3g} s") from None
        try:
            yield
        finally:
            self._turns.release()


def _check(closing: Message) -> None:
    try:
        error = decode(closing.payload, QueryEnd).error
    except Rejected as rejected:
        log.error("the recorder's answer cannot be read: %s", rejected)
        raise Unavailable("the recorder's answer cannot be read") from rejected
    if error is not None:
        log.warning("the recorder cannot answer: %s: %s", error.kind, error.message)
        raise Unavailable(f"the recorder cannot answer: {error.message}")
