import asyncio
from dataclasses import dataclass

import pytest

from adapters.client.aio import AsyncExchange, Reply
from adapters.client.errors import BrokenReply, NoReply, Unreachable
from broker.exchange import final, part
from broker.message import Message, Publication
from tests.adapters.http.fakes import FakeBus, until

REQUEST = Publication(topic="energy/1/raw", payload=b"{}")


def message(publication: Publication) -> Message:
    return Message(
        topic=publication.topic,
        payload=publication.payload,
        response_topic=publication.response_topic,
        correlation_data=publication.correlation_data,
        properties=publication.properties,
    )


def reply_to(request: Publication, payload: bytes = b"yes") -> Message:
    assert request.response_topic == "answers"
    return Message(topic="answers", payload=payload, correlation_data=request.correlation_data)


@dataclass
class Asked:
    """A request that was published and waits."""

    bus: FakeBus
    exchange: AsyncExchange
    task: "asyncio.Task[Reply]"

    @property
    def request(self) -> Message:
        return message(self.bus.delivered[-1])


async def asked() -> Asked:
    bus, exchange = FakeBus(), AsyncExchange("answers")
    task = asyncio.create_task(exchange.request(bus, REQUEST, 5))
    await until(lambda: bus.delivered)
    return Asked(bus, exchange, task)


def test_requests_get_their_own_replies_in_any_order() -> None:
    async def check() -> None:
        bus, exchange = FakeBus(), AsyncExchange("answers")
        tasks = [asyncio.create_task(exchange.request(bus, REQUEST, 5)) for _ in range(3)]
        await until(lambda: len(bus.delivered) == 3)
        for number in (2, 0, 1):
            exchange.take(reply_to(bus.delivered[number], b"%d" % number))
        assert [each.final.message.payload for each in await asyncio.gather(*tasks)] == [b"0", b"1", b"2"]
        assert bus.delivered[0].payload == REQUEST.payload

    asyncio.run(check())


def test_messages_that_no_request_waits_for_are_ignored() -> None:
    async def check() -> None:
        one = await asked()
        one.exchange.take(Message(topic="answers", payload=b"", correlation_data=b"another"))
        one.exchange.take(Message(topic="answers", payload=b""))
        assert not one.task.done()
        one.exchange.take(reply_to(one.bus.delivered[0]))
        one.exchange.take(reply_to(one.bus.delivered[0], b"redelivered"))
        assert (await one.task).final.message.payload == b"yes"
        one.exchange.take(reply_to(one.bus.delivered[0]))

    asyncio.run(check())


def test_parts_arrive_in_order_and_once() -> None:
    async def check() -> None:
        one = await asked()
        parts = [message(part(one.request, n, b"%d" % n, "text/plain")) for n in (1, 2)]
        for each in (parts[0], parts[0], parts[1], parts[0]):
            one.exchange.take(each)
        one.exchange.take(message(final(one.request, 2, b"end", "text/plain")))
        reply = await one.task
        assert ([each.message.payload for each in reply.parts], reply.final.message.payload) == ([b"1", b"2"], b"end")

    asyncio.run(check())


@pytest.mark.parametrize("ends", [False, True])
def test_lost_part_is_an_error(ends: bool) -> None:
    async def check() -> None:
        one = await asked()
        one.exchange.take(message(final(one.request, 1, b"", "") if ends else part(one.request, 2, b"", "")))
        with pytest.raises(BrokenReply, match="lost"):
            await one.task
        one.exchange.take(message(final(one.request, 0, b"", "")))

    asyncio.run(check())


def test_lost_part_before_the_acknowledgement_is_an_error() -> None:
    async def check() -> None:
        bus, exchange = FakeBus(), AsyncExchange("answers")
        bus.freeze()
        published: list[Publication] = []

        class Early(FakeBus):
            async def deliver(self, publication: Publication, timeout_s: float) -> None:
                published.append(publication)
                exchange.take(message(part(message(publication), 2, b"", "")))
                await bus.deliver(publication, timeout_s)

        with pytest.raises(Unreachable, match=r"answered|no whole reply"):
            await exchange.request(Early(), REQUEST, 0.05)
        bus.thaw()
        with pytest.raises(BrokenReply, match="part 1 of the reply was lost"):
            await exchange.request(Early(), REQUEST, 5)
        assert len(published) == 2

    asyncio.run(check())


def test_missing_reply_and_unreachable_broker_are_errors() -> None:
    async def check() -> None:
        bus, exchange = FakeBus(), AsyncExchange("answers")
        with pytest.raises(NoReply, match=r"no whole reply to energy/1/raw within 0\.05 s"):
            await exchange.request(bus, REQUEST, 0.05)
        bus.freeze()
        with pytest.raises(Unreachable, match=r"answered|no whole reply"):
            await exchange.request(bus, REQUEST, 0.05)
        bus.there = False
        with pytest.raises(Unreachable, match="no connection"):
            await exchange.request(bus, REQUEST, 5)

    asyncio.run(check())


def test_too_many_requests_at_once_are_an_error() -> None:
    async def check() -> None:
        bus, exchange = FakeBus(), AsyncExchange("answers", max_waiting=1)
        task = asyncio.create_task(exchange.request(bus, REQUEST, 5))
        await until(lambda: bus.delivered)
        with pytest.raises(Unreachable, match="1 requests wait for a reply already"):
            await exchange.request(bus, REQUEST, 5)
        exchange.take(reply_to(bus.delivered[0]))
        await task

    asyncio.run(check())
