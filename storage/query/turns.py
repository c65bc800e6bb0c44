"""Queries that run or wait: clients take turns, and whatever a query does, its asker gets an answer in time.

A running query occupies a thread. All threads exist from the start: when memory is short, new ones cannot be made, or abort
the process. Python can leave a thread alone but not end it, and DuckDB can neither interrupt one
call of a scalar function nor, here and there, its planner. So an answer that is overdue is closed for it, while its thread and
its turn stay taken until DuckDB returns. When all turns are taken that way, others are told so at once.
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
from broker.message import Message, Publication
from storage.database.cursors import lower_priority
from storage.database.database import Database
from storage.errors import QueryFailed
from storage.query.answers import answer, closing, request_of
from storage.query.memory import has_room
from storage.query.sandbox import Limits, limit

AT_ONCE = 6
PER_CLIENT = 2
"""Queries that run at the same time: in all, and for one client, which is known by its response topic."""
WAITING = 100
WAITING_PER_CLIENT = 25
GRACE_S = 2.0
"""How long an interrupted query may take to say so itself. The command line waits for 5 s beyond the query's own time."""

LEAST_MEMORY_BYTES = 1024**3
"""Address space below which no query begins: so many at once could get the process aborted."""


_STACK_BYTES = 16 * 1024 * 1024
"""DuckDB reads and plans nested statements recursively; where `ulimit -s` is unlimited, a thread would have 2 MiB."""

_AGAIN = "ask again later"
_STUCK = "cannot be interrupted and go on"


class Turns:
    """Whose query runs next. No client has more than its share of the turns, and those that wait are served in rotation."""

    def __init__(self, at_once: int = AT_ONCE, per_client: int = PER_CLIENT) -> None:
        self._at_once, self._per_client = at_once, per_client
        self._running: Counter[str] = Counter()
        self._stuck: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def take(self, client: str, timeout_s: float) -> None:
        """Wait for a turn; give it back with `leave`.

        Raises:
            QueryFailed: none becomes free in time, none can, or too many queries are waiting already (`limit`).
        """
        self._refuse_hopeless(client)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        self._serve()
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except TimeoutError:
            self._forget(client, turn)
            running = self._running.total()
            raise QueryFailed(limit(f"waited {timeout_s:.3g} s for its turn while {running} queries run", _AGAIN)) from None
        except asyncio.CancelledError:
            self._forget(client, turn)
            raise

    def stuck(self, client: str) -> None:
        """Note that a query cannot be stopped: it keeps its turn until it ends by itself."""
        self._stuck[client] += 1

    def leave(self, client: str, *, stuck: bool = False) -> None:
        """Give a turn back to whoever is next."""
        self._running.subtract([client])
        self._running = +self._running  # without those that have none
        if stuck:
            self._stuck.subtract([client])
        self._serve()

    def _refuse_hopeless(self, client: str) -> None:
        waiting = {each: len(turns) for each, turns in self._waiting.items()}
        if self._stuck.total() >= self._at_once:
            raise QueryFailed(limit(f"all {self._at_once} queries that may run at once {_STUCK}", _AGAIN))
        if self._stuck[client] >= self._per_client:
            raise QueryFailed(limit(f"{self._per_client} earlier queries of this client {_STUCK}", _AGAIN))
        if waiting.get(client, 0) >= WAITING_PER_CLIENT or sum(waiting.values()) >= WAITING:
            raise QueryFailed(limit(f"{waiting.get(client, 0)} queries of this client wait already", _AGAIN))

    def _serve(self) -> None:
        while self._running.total() < self._at_once and (client := self._next()) is not None:
            turns = self._waiting.pop(client)
            turn = turns.popleft()
            if not turn.cancelled():
                turn.set_result(None)
                self._running[client] += 1
            if turns:
                self._waiting[client] = turns  # behind the others

    def _next(self) -> str | None:
        return next((client for client in self._waiting if self._running[client] < self._per_client), None)

    def _forget(self, client: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(client, deque())
        if turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[client]
        elif not turn.cancelled():  # it was served at the same moment
            self.leave(client)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A query with its time, which counts from its arrival; `ends_s` is the event loop's."""

    message: Message
    request: QueryRequest
    timeout_s: float
    ends_s: float

    @property
    def client(self) -> str:
        return self.message.response_topic or ""

    @property
    def left_s(self) -> float:
        return max(self.ends_s - asyncio.get_running_loop().time(), 0.01)


class Queries:
    """Answers queries, each in a thread of its own; `send` is awaited for every message of an answer."""

    def __init__(self, database: Database, send: Callable[[Publication], Awaitable[None]], limits: Limits) -> None:
        self._database, self._send, self._limits = database, send, limits
        self._turns = Turns()
        self._threads = [_Thread() for _ in range(AT_ONCE)]
        self._idle = list(self._threads)
        self._answering: set[asyncio.Task[None]] = set()

    def take(self, message: Message) -> None:
        """Answer a message that `may_answer` accepts, as soon as it is its turn."""
        task = asyncio.create_task(self._answer(message))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    def cancel(self) -> None:
        """Send no more answers. What runs ends when the database interrupts it."""
        for task in self._answering:
            task.cancel()

    async def ended(self) -> None:
        """Wait until no answer is sent any more, and let the threads end."""
        await asyncio.gather(*self._answering, return_exceptions=True)
        for thread in self._threads:
            thread.end()

    async def _answer(self, message: Message) -> None:
        try:
            asked = self._asked(message)
            if not has_room(LEAST_MEMORY_BYTES):
                raise QueryFailed(limit("queries that run take all the memory there is for them", _AGAIN))
            await self._turns.take(asked.client, asked.timeout_s)
        except QueryFailed as failure:
            await self._send(closing(message, failure.error))
        else:
            await self._run(asked)

    def _asked(self, message: Message) -> _Asked:
        request = request_of(message)
        timeout_s = min(request.timeout_s or self._limits.timeout_s, self._limits.timeout_s)
        return _Asked(message, request, timeout_s, asyncio.get_running_loop().time() + timeout_s)

    async def _run(self, asked: _Asked) -> None:
        """Send an answer; give the turn back when its thread has left the database, however long after that."""
        limits = replace(self._limits, timeout_s=asked.timeout_s, waited_s=asked.timeout_s - asked.left_s)
        publications = answer(asked.message, asked.request, self._database, limits)
        thread, stuck, sent = self._idle.pop(), False, 0
        try:
            while (publication := await self._next(thread, publications, asked)) is not None:
                await self._send(publication)
                sent += 1
        except TimeoutError:
            stuck = True
            self._turns.stuck(asked.client)
            await self._send(closing(asked.message, _overdue(asked), sent))
        finally:
            loop = asyncio.get_running_loop()
            closed = thread.do(publications.close)  # it waits there for the step that goes on, if any
            closed.add_done_callback(lambda _: _call(loop, lambda: self._ended(thread, asked.client, stuck)))

    async def _next(self, thread: "_Thread", answers: Generator[Publication], asked: _Asked) -> Publication | None:
        async with asyncio.timeout(asked.left_s + GRACE_S):
            publication: Publication | None = await asyncio.wrap_future(thread.do(lambda: next(answers, None)))
        return publication

    def _ended(self, thread: "_Thread", client: str, stuck: bool) -> None:
        self._idle.append(thread)
        self._turns.leave(client, stuck=stuck)


def _overdue(asked: _Asked) -> QueryError:
    return limit(
        f"stopped after {asked.timeout_s:g} s, but one of its steps {_STUCK.replace('go', 'goes')}", "do less in one call"
    )


class _Thread:
    """A thread that does one thing after the other, and that nobody has to wait for, not even the interpreter at its end."""

    def __init__(self) -> None:
        self._work: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        usual = threading.stack_size(_STACK_BYTES)
        threading.Thread(target=self._run, name="query", daemon=True).start()
        threading.stack_size(usual)

    def do(self, work: Callable[[], Any]) -> "Future[Any]":
        """Do something after what the thread is doing; whoever stops waiting for it does not cancel it."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        self._work.put((work, future))
        return future

    def end(self) -> None:
        """Do nothing more after what the thread is doing."""
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
            del work, future, next_work  # or an answer's rows would stay until the next query


def _call(loop: asyncio.AbstractEventLoop, what: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop has ended, and the process is about to
        loop.call_soon_threadsafe(what)
