"""The order in which queries run: clients take turns, and every client gets an answer in time, whatever its query does.

A running query occupies a thread. All threads exist from the start: when memory is short, starting one fails or aborts the
process. Python can abandon a thread but not end it, and DuckDB cannot interrupt a call of a scalar function or, in places, its
planner. So an overdue answer is closed with an error, while its thread and its turn stay occupied until DuckDB returns. While
all turns are occupied like that, new queries are refused at once.
"""

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any

from broker.contract.storage.topics import QueryError, QueryRequest
from broker.exchange import is_final
from broker.message import Message, Publication
from storage.database.cursors import lower_priority
from storage.database.database import Database
from storage.errors import QueryFailed
from storage.query.answers import answer, closing, decode_request
from storage.query.limits import (
    MAX_RUNNING,
    MAX_RUNNING_PER_CLIENT,
    MAX_WAITING,
    MAX_WAITING_PER_CLIENT,
    STACK_BYTES,
    Cancellation,
    Limits,
    has_memory_for_query,
    limit_error,
)

_RETRY = "try again later"


class Turns:
    """The turns of queries. No client has more than its share of them, and waiting clients are served in rotation."""

    def __init__(self, max_running: int = MAX_RUNNING, per_client: int = MAX_RUNNING_PER_CLIENT) -> None:
        self._max_running, self._per_client = max_running, per_client
        self._running: Counter[str] = Counter()
        self._stuck: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def acquire(self, client: str, timeout_s: float) -> None:
        """Wait for a turn; the caller returns it with `release`.

        Raises:
            QueryFailed: no turn becomes free in time or can become free, or too many queries are waiting (`limit`).
        """
        self._refuse_hopeless(client)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        self._serve()
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except TimeoutError:
            self._withdraw(client, turn)
            running = self._running.total()
            error = limit_error(f"waited {timeout_s:.3g} s for its turn while {running} queries run", _RETRY)
            raise QueryFailed(error) from None
        except asyncio.CancelledError:
            self._withdraw(client, turn)
            raise

    def mark_stuck(self, client: str) -> None:
        """Count a running query of a client as one that cannot be stopped: its turn is taken until it ends."""
        self._stuck[client] += 1

    def release(self, client: str, *, stuck: bool = False) -> None:
        """Return a turn, which goes to the next client; `stuck` if it was marked so."""
        self._running.subtract([client])
        self._running = +self._running  # without the clients that have none
        if stuck:
            self._stuck.subtract([client])
        self._serve()

    def _refuse_hopeless(self, client: str) -> None:
        waiting = {each: len(turns) for each, turns in self._waiting.items()}
        if self._stuck.total() >= self._max_running:
            problem = f"all {self._max_running} queries that may run at once cannot be interrupted and still run"
        elif self._stuck[client] >= self._per_client:
            problem = f"{self._per_client} earlier queries of this client cannot be interrupted and still run"
        elif waiting.get(client, 0) >= MAX_WAITING_PER_CLIENT or sum(waiting.values()) >= MAX_WAITING:
            problem = f"{waiting.get(client, 0)} queries of this client wait already"
        else:
            return
        raise QueryFailed(limit_error(problem, _RETRY))

    def _serve(self) -> None:
        while self._running.total() < self._max_running and (client := self._next()) is not None:
            turns = self._waiting.pop(client)
            turn = turns.popleft()
            if not turn.cancelled():
                turn.set_result(None)
                self._running[client] += 1
            if turns:
                self._waiting[client] = turns  # behind the others

    def _next(self) -> str | None:
        return next((client for client in self._waiting if self._running[client] < self._per_client), None)

    def _withdraw(self, client: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(client, deque())
        if turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[client]
        elif not turn.cancelled():  # it was served at the same moment
            self.release(client)


@dataclass(frozen=True, slots=True)
class _TimedQuery:
    """A query with its limits; its time counts from its arrival. `ends_s` is in the event loop's time."""

    message: Message
    request: QueryRequest
    limits: Limits
    ends_s: float
    cancellation: Cancellation

    @property
    def client(self) -> str:
        return self.message.response_topic or ""

    @property
    def left_s(self) -> float:
        return max(self.ends_s - asyncio.get_running_loop().time(), 0.01)


class Queries:
    """The query service: answers each query in a thread. `send` is awaited for every message of an answer."""

    def __init__(self, database: Database, send: Callable[[Publication], Awaitable[None]], limits: Limits) -> None:
        self._database, self._send, self._limits = database, send, limits
        self._turns = Turns()
        self._threads = [_Thread() for _ in range(MAX_RUNNING)]
        self._idle = list(self._threads)
        self._answering: dict[asyncio.Task[None], tuple[Message, Cancellation]] = {}
        self._unanswered: set[tuple[str | None, bytes | None]] = set()
        """Response topic and correlation data of the queries whose final message is still to be sent."""

    def submit(self, message: Message) -> None:
        """Answer a message that `may_answer` accepts, as soon as it is its turn.

        A client that lost its connection may send a query twice. The copy is ignored while the query is being answered, because
        a client could not tell the parts of two answers apart.
        """
        query = message.response_topic, message.correlation_data
        if message.correlation_data is not None and query in self._unanswered:
            return
        self._unanswered.add(query)
        cancellation = Cancellation()
        task = asyncio.create_task(self._answer(message, cancellation))
        self._answering[task] = message, cancellation
        task.add_done_callback(self._answering.pop)

    def cancel_of(self, response_topic: str, correlation_data: bytes | None = None) -> None:
        """Stop the queries with this response topic, or only the one with this correlation data, and do not answer them."""
        for task, (message, cancellation) in self._answering.items():
            if message.response_topic == response_topic and correlation_data in (None, message.correlation_data):
                self._unanswered.discard((response_topic, message.correlation_data))
                cancellation.request()
                task.cancel()

    def cancel(self) -> None:
        """Stop sending answers. Running queries end when the database interrupts them."""
        for task in self._answering:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until no more answers are sent, then let the threads end."""
        await asyncio.gather(*self._answering, return_exceptions=True)
        for thread in self._threads:
            thread.end()

    async def _answer(self, message: Message, cancellation: Cancellation) -> None:
        try:
            query = self._timed(message, cancellation)
            if not has_memory_for_query():
                raise QueryFailed(limit_error("running queries take all the memory that queries may have", _RETRY))
            await self._turns.acquire(query.client, query.limits.timeout_s)
        except QueryFailed as failure:
            await self._reply(closing(message, failure.error))
        else:
            await self._run(query)

    def _timed(self, message: Message, cancellation: Cancellation) -> _TimedQuery:
        request = decode_request(message)
        limits = self._limits.lowered_by(request)
        return _TimedQuery(message, request, limits, asyncio.get_running_loop().time() + limits.timeout_s, cancellation)

    async def _run(self, query: _TimedQuery) -> None:
        """Send an answer. Return the turn when the query's thread has left the database, however much later."""
        limits = replace(query.limits, waited_s=query.limits.timeout_s - query.left_s)
        publications = answer(query.message, query.request, self._database, limits, query.cancellation)
        thread, stuck, sent = self._idle.pop(), False, 0
        try:
            while (publication := await self._next(thread, publications, query)) is not None:
                await self._reply(publication)
                sent += 1
        except TimeoutError:
            stuck = True
            self._turns.mark_stuck(query.client)
            await self._reply(closing(query.message, _overdue(query), sent))
        finally:
            loop = asyncio.get_running_loop()
            closed = thread.submit(publications.close)  # it waits in the thread for a step that still runs
            closed.add_done_callback(lambda _: _call(loop, lambda: self._finish(thread, query.client, stuck)))

    async def _reply(self, publication: Publication) -> None:
        """Send one message of an answer. A client that has the final one may send the same query once more."""
        if is_final(publication):
            self._unanswered.discard((publication.topic, publication.correlation_data))
        await self._send(publication)

    async def _next(self, thread: "_Thread", answers: Generator[Publication], query: _TimedQuery) -> Publication | None:
        async with asyncio.timeout(query.left_s + query.limits.grace_s):
            publication: Publication | None = await asyncio.wrap_future(thread.submit(lambda: next(answers, None)))
        return publication

    def _finish(self, thread: "_Thread", client: str, stuck: bool) -> None:
        self._idle.append(thread)
        self._turns.release(client, stuck=stuck)


def _overdue(query: _TimedQuery) -> QueryError:
    problem = f"stopped after {query.limits.timeout_s:g} s, but one of its steps cannot be interrupted and still runs"
    return limit_error(problem, "do less in one call")


class _Thread:
    """A thread that runs one piece of work after the other. Nothing has to wait for it, not even the interpreter's exit."""

    def __init__(self) -> None:
        self._work: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        default = threading.stack_size(STACK_BYTES)
        threading.Thread(target=self._run, name="query", daemon=True).start()
        threading.stack_size(default)

    def submit(self, work: Callable[[], Any]) -> "Future[Any]":
        """Run `work` after the present work. A caller that stops waiting for it does not cancel it."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        self._work.put((work, future))
        return future

    def end(self) -> None:
        """End the thread after the present work."""
        self._work.put(None)

    def _run(self) -> None:
        lower_priority()
        while (next_work := self._work.get()) is not None:
            work, future = next_work
            try:
                result = work()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            del work, future, next_work  # otherwise an answer's rows would stay in memory until the next query


def _call(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is closed, and the process about to end
        loop.call_soon_threadsafe(callback)
