import asyncio

import pytest

from adapters.http import exchange
from adapters.http.errors import Unavailable
from adapters.http.exchange import Exchange
from broker.message import Message, Publication
from tests.adapters.http.fakes import FakeBus, until

QUESTION = Publication(topic="energy/1/raw", payload=b"{}")


def answer_to(question: Publication, payload: bytes = b"yes") -> Message:
    assert question.response_topic == "answers"
    return Message(topic="answers", payload=payload, correlation_data=question.correlation_data)


def test_each_question_gets_its_own_answer_in_whatever_order_they_come() -> None:
    async def check() -> None:
        bus, asked = FakeBus(), Exchange("answers")
        tasks = [asyncio.create_task(asked.ask(bus, QUESTION, 5)) for _ in range(3)]
        await until(lambda: len(bus.delivered) == 3)
        for number in (2, 0, 1):
            assert asked.on_answer(answer_to(bus.delivered[number], b"%d" % number))
        assert [each.payload for each in await asyncio.gather(*tasks)] == [b"0", b"1", b"2"]
        assert bus.delivered[0].payload == QUESTION.payload

    asyncio.run(check())


def test_an_answer_that_nobody_waits_for_is_told_apart() -> None:
    async def check() -> None:
        bus, asked = FakeBus(), Exchange("answers")
        task = asyncio.create_task(asked.ask(bus, QUESTION, 5))
        await until(lambda: bus.delivered)
        assert not asked.on_answer(Message(topic="answers", payload=b"", correlation_data=b"another"))
        assert not asked.on_answer(Message(topic="answers", payload=b""))
        assert asked.on_answer(answer_to(bus.delivered[0]))
        assert not asked.on_answer(answer_to(bus.delivered[0], b"again"))
        assert (await task).payload == b"yes"
        assert not asked.on_answer(answer_to(bus.delivered[0]))

    asyncio.run(check())


def test_no_answer_a_frozen_broker_and_no_broker_are_503() -> None:
    async def check() -> None:
        bus, asked = FakeBus(), Exchange("answers")
        with pytest.raises(Unavailable, match=r"nobody answered on energy/1/raw within 0\.05 s"):
            await asked.ask(bus, QUESTION, 0.05)
        bus.freeze()
        with pytest.raises(Unavailable, match="answered"):
            await asked.ask(bus, QUESTION, 0.05)
        bus.there = False
        with pytest.raises(Unavailable, match="no connection"):
            await asked.ask(bus, QUESTION, 5)

    asyncio.run(check())


def test_too_many_questions_at_once_are_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "MOST_WAITING", 1)

    async def check() -> None:
        bus, asked = FakeBus(), Exchange("answers")
        task = asyncio.create_task(asked.ask(bus, QUESTION, 5))
        await until(lambda: bus.delivered)
        with pytest.raises(Unavailable, match="1 requests wait for an answer already"):
            await asked.ask(bus, QUESTION, 5)
        asked.on_answer(answer_to(bus.delivered[0]))
        await task

    asyncio.run(check())
