import asyncio

import pytest

from adapters.http.errors import Unavailable
from adapters.http.watch import BrokerWatch
from tests.adapters.http.fakes import FakeBus, running, until


async def refused(watch: BrokerWatch) -> str:
    with pytest.raises(Unavailable) as caught:
        await watch.require()
    assert caught.value.headers == {"Retry-After": "2"}
    return caught.value.text


def test_before_the_broker_was_heard_nothing_is_answered() -> None:
    async def check() -> None:
        assert await refused(BrokerWatch()) == "the broker has not answered yet"

    asyncio.run(check())


def test_a_request_waits_for_a_ping_that_began_after_it_came() -> None:
    async def check() -> None:
        bus, watch = FakeBus(), BrokerWatch(period_s=60)
        async with running(watch.run(bus)):
            await until(lambda: bus.pings == 1)
            await watch.require()
            assert bus.pings == 2
            await watch.require()
            assert bus.pings == 3

    asyncio.run(check())


def test_requests_that_come_together_share_a_ping() -> None:
    async def check() -> None:
        bus, watch = FakeBus(), BrokerWatch(period_s=60)
        async with running(watch.run(bus)):
            await until(lambda: bus.pings == 1)
            await asyncio.gather(*(watch.require() for _ in range(100)))
            assert bus.pings == 2

    asyncio.run(check())


def test_a_frozen_broker_answers_those_that_wait_and_those_that_come_while_it_does() -> None:
    async def check() -> None:
        bus, watch = FakeBus(), BrokerWatch(timeout_s=0.1, period_s=60)
        async with running(watch.run(bus)):
            await until(lambda: bus.pings == 1)
            bus.freeze()
            first = asyncio.create_task(refused(watch))
            await until(lambda: bus.pings == 2)
            second = asyncio.create_task(refused(watch))
            assert await first == await second == "the broker has not answered within 0.1 s"
            assert bus.pings == 2

    asyncio.run(check())


def test_once_it_is_known_to_be_away_nobody_waits_for_long() -> None:
    async def check() -> None:
        bus, watch = FakeBus(), BrokerWatch(timeout_s=0.5, period_s=0.01)
        bus.freeze()
        async with running(watch.run(bus)):
            await until(lambda: bus.pings == 2)
            async with asyncio.timeout(0.3):
                assert await refused(watch) == "the broker has not answered within 0.5 s"
            bus.there = False
            bus.thaw()
            await until(lambda: bus.pings == 4)
            async with asyncio.timeout(0.1):
                assert await refused(watch) == "there is no connection to the broker"

    asyncio.run(check())


def test_a_broker_that_came_back_is_noticed_by_the_next_request() -> None:
    async def check() -> None:
        bus, watch = FakeBus(), BrokerWatch(period_s=60)
        bus.there = False
        async with running(watch.run(bus)):
            assert await refused(watch) == "there is no connection to the broker"
            bus.there = True
            await watch.require()

    asyncio.run(check())


def test_without_requests_a_broker_that_came_back_is_noticed_too() -> None:
    async def check() -> None:
        bus, watch = FakeBus(), BrokerWatch(timeout_s=0.05, period_s=0.01)
        async with running(watch.run(bus)):
            bus.freeze()
            await until(lambda: bus.pings == 3)
            bus.thaw()
            pings = bus.pings
            await until(lambda: bus.pings > pings + 1)
            bus.freeze()
            assert await refused(watch) == "the broker has not answered within 0.05 s"

    asyncio.run(check())


def test_a_client_that_left_does_not_stop_the_others() -> None:
    async def check() -> None:
        bus, watch = FakeBus(), BrokerWatch(period_s=60)
        async with running(watch.run(bus)):
            await until(lambda: bus.pings == 1)
            leaving, staying = asyncio.create_task(watch.require()), asyncio.create_task(watch.require())
            await asyncio.sleep(0)
            leaving.cancel()
            await staying

    asyncio.run(check())
