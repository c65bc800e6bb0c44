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


def test_no_request_is_answered_before_the_first_ping() -> None:
    async def check() -> None:
        assert await refused(BrokerWatch()) == "the broker has not answered yet"

    asyncio.run(check())


def test_request_waits_for_a_ping_begun_after_it_arrived() -> None:
    async def check() -> None:
        bus, watch = FakeBus(), BrokerWatch(period_s=60)
        async with running(watch.run(bus)):
            await until(lambda: bus.pings == 1)
            await watch.require()
            assert bus.pings == 2
            await watch.require()
            assert bus.pings == 3

    asyncio.run(check())


def test_simultaneous_requests_share_a_ping() -> None:
    async def check() -> None:
        bus, watch = FakeBus(), BrokerWatch(period_s=60)
        async with running(watch.run(bus)):
            await until(lambda: bus.pings == 1)
            await asyncio.gather(*(watch.require() for _ in range(100)))
            assert bus.pings == 2

    asyncio.run(check())


def test_frozen_broker_fails_waiting_and_new_requests() -> None:
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


def test_requests_hardly_wait_for_an_unreachable_broker() -> None:
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


def test_next_request_notices_a_broker_that_returned() -> None:
    async def check() -> None:
        bus, watch = FakeBus(), BrokerWatch(period_s=60)
        bus.there = False
        async with running(watch.run(bus)):
            assert await refused(watch) == "there is no connection to the broker"
            bus.there = True
            await watch.require()

    asyncio.run(check())


def test_returned_broker_is_noticed_without_requests() -> None:
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


def test_cancelled_request_does_not_stop_the_others() -> None:
    async def check() -> None:
        bus, watch = FakeBus(), BrokerWatch(period_s=60)
        async with running(watch.run(bus)):
            await until(lambda: bus.pings == 1)
            leaving, staying = asyncio.create_task(watch.require()), asyncio.create_task(watch.require())
            await asyncio.sleep(0)
            leaving.cancel()
            await staying

    asyncio.run(check())
