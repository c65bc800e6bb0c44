"""Queries of a component to the recorder, for asyncio programs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from adapters.client.aio import AsyncExchange
from adapters.client.answers import arrow_rows, end_of
from adapters.client.errors import BrokenReply, Failed, NoReply
from adapters.client.rows import ArrowRows
from broker.contract.storage.answers import AnswerError, AnswerTruncated, cancel, end, query, rows
from broker.contract.storage.topics import ANSWER, QueryRequest
from broker.exchange import MalformedReply
from broker.log import Log
from broker.message import Message
from broker.runtime.component import Bus

log = Log(__name__)

MAX_CONCURRENT = 4
"""Queries of GET requests at the same time. The recorder runs 2 of a client at once, and one more must not wait for long."""

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class SomeRows:
    """An answer that may have been cut at a limit on rows."""

    columns: list[str]
    rows: Rows
    truncated: bool


class RecorderClient:
    """Asks the recorder for rows. Pass every message of the response topic, `storage/answer/{client}`, to `take`.

    Args:
        client: name of the component.
    """

    def __init__(self, client: str) -> None:
        topic = ANSWER.template.topic(client=client)
        self._exchange = AsyncExchange(topic, cancel=lambda query: cancel(client, query))
        self._turns = asyncio.Semaphore(MAX_CONCURRENT)

    def take(self, message: Message) -> None:
        """Take a message of an answer."""
        self._exchange.take(message)

    async def query_in_turn(self, bus: Bus, request: QueryRequest, timeout_s: float) -> Rows:
        """Query as `query` does, as soon as fewer than `MAX_CONCURRENT` run in this way; the time counts from now.

        Raises:
            ClientError: as with `query`, or earlier queries took all the time.
        """
        ends_s = asyncio.get_running_loop().time() + timeout_s
        async with self._turn(timeout_s):
            return await self.query(bus, request, ends_s - asyncio.get_running_loop().time())

    async def query_some(self, bus: Bus, request: QueryRequest, timeout_s: float) -> "SomeRows":
        """Return the rows of a query as far as the recorder sends them.

        Raises:
            ClientError: as with `query`, but a cut answer is none.
        """
        reply = await self._exchange.request(bus, query(request), timeout_s)
        try:
            last = end(reply.final, whole=False)
            return SomeRows(last.columns, [row for part in reply.parts for row in rows(part)], last.truncated)
        except AnswerError as error:
            raise Failed(str(error)) from error
        except MalformedReply as error:
            log.error("answer-unreadable", "%(error)s", error=error)
            raise BrokenReply("the recorder's answer cannot be read") from error

    async def query(self, bus: Bus, request: QueryRequest, timeout_s: float) -> Rows:
        """Return all rows of a query.

        Raises:
            Unreachable: the recorder or the broker is unreachable, has not answered in time, or the answer is incomplete or
                unreadable.
            Failed: the recorder reports an error, or the answer was cut at a limit on rows.
        """
        reply = await self._exchange.request(bus, query(request), timeout_s)
        try:
            end(reply.final, whole=True)
            return [row for part in reply.parts for row in rows(part)]
        except (AnswerError, AnswerTruncated) as error:
            log.warning("query-failed", "the recorder cannot answer: %(error)s", error=error)
            raise Failed(f"the recorder cannot answer: {error}") from error
        except MalformedReply as error:
            log.error("answer-unreadable", "%(error)s", error=error)
            raise BrokenReply("the recorder's answer cannot be read") from error

    async def query_arrow(self, bus: Bus, request: QueryRequest, timeout_s: float) -> ArrowRows:
        """Return all rows of a query for Arrow.

        Raises:
            Refused: the answer exceeds a limit of the recorder.
            ClientError: as with `query`.
        """
        reply = await self._exchange.request(bus, query(request), timeout_s)
        columns = end_of(reply.final, request.sql, whole=True).columns
        return arrow_rows(reply.parts, columns)

    @asynccontextmanager
    async def _turn(self, timeout_s: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(timeout_s):
                await self._turns.acquire()
        except TimeoutError:
            raise NoReply(f"the recorder has not answered earlier requests within {timeout_s:.3g} s") from None
        try:
            yield
        finally:
            self._turns.release()
