"""Turns and answers of the query service, in this process."""

import asyncio
from collections.abc import Coroutine
from typing import Any, ClassVar

import pytest

from broker.contract.storage.topics import QueryEnd, QueryRequest
from broker.exchange import FINAL
from broker.message import Message, Publication, decode, encode
from storage.database.database import Database
from storage.errors import QueryFailed
from storage.query.limits import MAX_RUNNING, MAX_RUNNING_PER_CLIENT, MAX_WAITING_PER_CLIENT, Limits
from storage.query.turns import Queries, Turns

SLOW = "SELECT count(*) FROM range(100000) a, range(100000) b, range(1000) c"
STUCK = "SELECT levenshtein(repeat('a', 24000), repeat('b', 24000)) AS d, ?::INT AS n"
"""A call of a scalar function that takes half a second and cannot be interrupted by DuckDB."""


def run(scenario: Coroutine[Any, Any, None]) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(50):
            await scenario
        for service in Service.all:
            service.queries.cancel()
            await service.queries.wait_closed()
        Service.all.clear()

    asyncio.run(in_time())


class Service:
    """The query service, with the final messages of its answers by response topic."""

    all: ClassVar[list["Service"]] = []

    def __init__(self, database: Database, timeout_s: float = 5.0, grace_s: float = 2.0) -> None:
        self.all.append(self)
        self.queries = Queries(database, self._send, Limits(timeout_s=timeout_s, grace_s=grace_s))
        self.ends: dict[str, asyncio.Queue[QueryEnd]] = {}

    def put(self, client: str, sql: str, correlation_data: bytes | None = None, **request: Any) -> None:
        self.ends.setdefault(client, asyncio.Queue())
        payload = encode(QueryRequest(sql=sql, **request))
        message = Message(topic="storage/query", payload=payload, response_topic=client, correlation_data=correlation_data)
        self.queries.submit(message)

    async def ask(self, client: str, sql: str, correlation_data: bytes | None = None, **request: Any) -> QueryEnd:
        self.put(client, sql, correlation_data, **request)
        return await self.ends[client].get()

    async def _send(self, publication: Publication) -> None:
        if (FINAL, "true") in publication.properties:
            await self.ends[publication.topic].put(decode(publication.payload, QueryEnd))


def test_cancelled_queries_end_and_free_their_turns(database: Database) -> None:
    async def scenario() -> None:
        service = Service(database, timeout_s=60)
        for number in range(MAX_RUNNING * 2):
            service.put(f"client-{number // 4}", SLOW, b"%d" % number)
        await asyncio.sleep(0.5)
        started_s = asyncio.get_running_loop().time()
        for number in range(MAX_RUNNING):
            service.queries.cancel_of(f"client-{number}")
        end = await service.ask("other", "SELECT 1")
        assert end.error is None
        assert asyncio.get_running_loop().time() - started_s < 2
        assert all(ends.empty() for ends in service.ends.values())

    run(scenario())


def test_query_can_be_cancelled_at_any_moment(database: Database) -> None:
    async def scenario() -> None:
        service = Service(database, timeout_s=60)
        for number in range(40):
            service.put("client", SLOW, b"%d" % number)
            await asyncio.sleep(number * 0.0005)
            service.queries.cancel_of("client")
        assert (await service.ask("other", "SELECT 1")).error is None
        assert (await service.ask("client", "SELECT 1", b"0")).error is None
        assert service.ends["client"].empty()

    run(scenario())


def test_one_query_of_a_client_is_cancelled_by_its_data(database: Database) -> None:
    async def scenario() -> None:
        service = Service(database, timeout_s=3)
        service.put("client", SLOW, b"1")
        service.put("client", SLOW, b"2")
        await asyncio.sleep(0.2)
        service.queries.cancel_of("client", b"1")
        service.queries.cancel_of("stranger")
        assert "stopped after 3 s" in limit_of(await service.ends["client"].get())
        assert service.ends["client"].empty()

    run(scenario())


def limit_of(end: QueryEnd) -> str:
    assert end.error is not None
    assert end.error.kind == "limit"
    return end.error.message


async def waiting(turns: Turns, *clients: str, served: list[str]) -> list[asyncio.Task[None]]:
    async def one(client: str) -> None:
        await turns.acquire(client, 10)
        served.append(client)

    tasks = [asyncio.create_task(one(client)) for client in clients]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


def test_clients_take_turns_within_their_share() -> None:
    async def scenario() -> None:
        turns, served = Turns(max_running=3, per_client=2), list[str]()
        tasks = await waiting(turns, "a", "a", "a", "a", "b", "b", "c", served=served)
        assert served == ["a", "a", "b"]
        turns.release("a")
        await asyncio.sleep(0)
        assert served[3:] == ["a"]
        turns.release("a")
        await asyncio.sleep(0)
        turns.release("a")
        await asyncio.sleep(0)
        assert sorted(served[4:]) == ["b", "c"]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(scenario())


def test_waiting_too_long_is_an_error_and_frees_the_place() -> None:
    async def scenario() -> None:
        turns = Turns(max_running=1)
        await turns.acquire("a", 1)
        with pytest.raises(QueryFailed, match=r"waited 0\.01 s for its turn while 1 queries run"):
            await turns.acquire("b", 0.01)
        turns.release("a")
        await turns.acquire("c", 1)

    run(scenario())


def test_cancelled_wait_takes_no_turn() -> None:
    async def scenario() -> None:
        turns = Turns(max_running=1)
        await turns.acquire("a", 1)
        served = list[str]()
        (task,) = await waiting(turns, "b", served=served)
        task.cancel()
        turns.release("a")
        await asyncio.gather(task, return_exceptions=True)
        await turns.acquire("c", 1)
        assert served == []

    run(scenario())


def test_too_many_waiting_queries_fail_at_once(database: Database) -> None:
    async def scenario() -> None:
        service = Service(database, timeout_s=1.0)
        for _ in range(MAX_RUNNING_PER_CLIENT + MAX_WAITING_PER_CLIENT + 1):
            service.put("a", SLOW)
        first = limit_of(await service.ends["a"].get())
        assert f"{MAX_WAITING_PER_CLIENT} queries of this client wait already" in first
        later = [limit_of(await service.ends["a"].get()) for _ in range(MAX_RUNNING_PER_CLIENT + MAX_WAITING_PER_CLIENT)]
        assert all(each.startswith(("stopped after 1 s", "waited 1 s")) for each in later), later

    run(scenario())


def test_short_queries_overtake_a_client_with_long_ones(database: Database) -> None:
    async def scenario() -> None:
        service = Service(database, timeout_s=3.0)
        for _ in range(20):
            service.put("greedy", SLOW)
        for _ in range(5):
            assert (await service.ask("modest", "SELECT 1")).error is None
        assert service.ends["greedy"].empty()
        for _ in range(20):
            limit_of(await service.ends["greedy"].get())

    run(scenario())


def test_query_time_counts_from_its_arrival(database: Database) -> None:
    async def scenario() -> None:
        service = Service(database)
        for _ in range(MAX_RUNNING_PER_CLIENT):
            service.put("a", SLOW, timeout_s=2.0)
        service.put("a", "SELECT 1", timeout_s=0.3)
        assert "waited 0.3 s" in limit_of(await service.ends["a"].get())  # before the others, which end after 2 s

    run(scenario())


def test_uninterruptible_query_is_answered_in_time(database: Database) -> None:
    async def scenario() -> None:
        service = Service(database, grace_s=0.1)
        for n in range(MAX_RUNNING):
            service.put(f"stuck-{n // MAX_RUNNING_PER_CLIENT}", STUCK, parameters=[n], timeout_s=0.2)
        for n in range(MAX_RUNNING):
            assert "cannot be interrupted" in limit_of(await service.ends[f"stuck-{n // MAX_RUNNING_PER_CLIENT}"].get())
        assert f"all {MAX_RUNNING} queries that may run at once" in limit_of(await service.ask("other", "SELECT 1"))
        while (await service.ask("other", "SELECT 1")).error is not None:
            await asyncio.sleep(0.1)
        while (await service.ask("stuck-0", "SELECT 1")).error is not None:
            await asyncio.sleep(0.1)

    run(scenario())


def test_cancelled_answers_return_their_cursors(database: Database) -> None:
    async def scenario() -> None:
        service = Service(database)
        service.put("a", SLOW)
        await asyncio.sleep(0.2)
        service.queries.cancel()
        await asyncio.to_thread(database.close)
        await service.queries.wait_closed()
        assert database.wait_for_queries(0)

    run(scenario())


def test_large_request_is_refused_undecoded(database: Database) -> None:
    async def scenario() -> None:
        service = Service(database)
        assert "a request has 1 MiB at most" in limit_of(await service.ask("a", "SELECT '" + "x" * 1_100_000 + "'"))

    run(scenario())


def test_copy_of_a_running_query_has_no_second_answer(database: Database) -> None:
    async def scenario() -> None:
        service = Service(database)
        for client, correlation_data in (("a", b"1"), ("a", b"1"), ("a", b"2"), ("b", b"1"), ("c", None), ("c", None)):
            service.put(client, "SELECT 1", correlation_data)
        for client, answers in (("a", 2), ("b", 1), ("c", 2)):
            for _ in range(answers):
                assert (await service.ends[client].get()).error is None
        while service.queries._answering:
            await asyncio.sleep(0.01)
        assert all(ends.empty() for ends in service.ends.values()), "one answer each"
        service.put("a", "SELECT 1", b"1")
        assert (await service.ends["a"].get()).rows == 1, "the query before it has been answered"

    run(scenario())


def test_query_may_be_sent_again_once_it_is_answered(database: Database) -> None:
    async def scenario() -> None:
        service = Service(database)
        for _ in range(20):
            service.put("a", "SELECT 1", b"1")
            assert (await service.ends["a"].get()).rows == 1

    run(scenario())
