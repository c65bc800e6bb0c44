"""`tail -f`: history, then live, in every order in which messages can arrive."""

import json
import random
from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.client.bus import Received
from adapters.client.errors import Unreachable
from adapters.client.follow import Backlog, Event, Follower, HistoryEnd, Live
from adapters.client.history import History
from adapters.client.rows import ArrowRows
from broker.exchange import Exchange
from tests.adapters.client.fakes import START_AT, FakeRecorder

TOPIC = "/readings/room-1/temperature"


class Plant:
    """A broker and a recorder in which messages and answers are interleaved at random; the recorder may answer late."""

    def __init__(self, seed: int, most_rows: int) -> None:
        self.random = random.Random(seed)
        self.recorder = FakeRecorder(rows_per_part=2)
        self.recorder.most_rows = most_rows
        self.follower = follower(History(topic_filter="/readings/#", cut="cut-7"), Backlog(most_in_memory=2))
        self.count = 0
        self.shown: list[int] = []

    def publish(self, received: bool = True) -> None:
        self.count += 1
        payload = str(self.count)
        ahead = timedelta(days=40 * self.random.randrange(2))  # the recorder's clock goes ahead and comes back
        self.recorder.record(TOPIC, payload, START_AT + timedelta(seconds=self.count) + ahead)
        if received:
            self.deliver(Received(topic=TOPIC, payload=payload.encode(), at=START_AT))

    def deliver(self, received: Received) -> None:
        for event in self.follower.take(received):
            self.shown += list(numbers(event))

    def ask(self) -> None:
        question = self.follower.request
        self.follower.next_request = None
        self.recorder.record("storage/query", question.payload.decode())
        self.deliver(
            Received(
                topic="storage/query",
                payload=question.payload,
                at=START_AT,
                correlation_data=question.correlation_data,
            )
        )
        self.some()
        answer = self.recorder.answer(question.payload)
        for payload, content_type, user in answer:
            self.some()
            self.deliver(
                Received(
                    topic=question.response_topic or "",
                    payload=payload,
                    at=START_AT,
                    correlation_data=question.correlation_data,
                    content_type=content_type,
                    properties=user,
                )
            )

    def some(self) -> None:
        for _ in range(self.random.randrange(4)):
            self.publish()


def follower(history: History, backlog: Backlog | None = None) -> Follower:
    return Follower(history, Exchange("storage/answer/me", b"8 random"), backlog)


def numbers(event: Event) -> Iterator[int]:
    if isinstance(event, Live):
        yield int(event.received.payload)
    elif isinstance(event, ArrowRows):
        yield from (int(row[3]) for row in event.rows() if row[2] == TOPIC)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(0, 9), st.sampled_from([2, 3, 1_000]))
def test_every_message_is_shown_exactly_once(seed: int, before: int, most_rows: int) -> None:
    plant = Plant(seed, most_rows)
    plant.recorder.database.execute("CREATE OR REPLACE MACRO now() AS TIMESTAMPTZ '2026-01-31 08:00:00+00'")
    for _ in range(before):
        plant.publish(received=plant.random.random() < 0.5)
    plant.ask()
    for _ in range(100):
        if plant.follower.next_request is not None:
            plant.ask()
    plant.some()
    assert plant.follower.complete
    assert plant.shown == list(range(1, plant.count + 1))


def test_end_of_the_history_is_reported() -> None:
    sorter = follower(History(topic_filter="#", lines=0, cut="c"))
    events = list(sorter.take(_end(sorter)))
    assert events == [HistoryEnd()]


def test_own_query_and_its_replies_are_not_shown() -> None:
    sorter = follower(History(topic_filter="#", cut="c"))
    echo = Received(topic="storage/query", payload=b"", at=START_AT, correlation_data=sorter.request.correlation_data)
    assert list(sorter.take(echo)) == []
    list(sorter.take(_end(sorter)))
    assert list(sorter.take(echo)) == []
    assert list(sorter.take(Received(topic="storage/answer/me", payload=b"", at=START_AT))) == []
    others = Received(topic="storage/query", payload=b"", at=START_AT, correlation_data=b"other")
    assert list(sorter.take(others)) == [Live(others)]


def test_recorder_that_stops_during_the_history_is_an_error() -> None:
    sorter = follower(History(topic_filter="#", cut="c"))
    offline = b'{"state":"offline","boot":"b","version":"1"}'
    with pytest.raises(Unreachable, match="stopped"):
        list(sorter.take(Received(topic="components/recorder/state", payload=offline, at=START_AT)))


@pytest.mark.parametrize("count", [0, 1, 3, 4, 50])
def test_backlog_keeps_order_beyond_memory(count: int) -> None:
    backlog = Backlog(most_in_memory=3)
    messages = [
        Received(topic=f"t/{n}", payload=bytes([n]), at=START_AT, correlation_data=b"\xff", properties=(("a", "b"),))
        for n in range(count)
    ]
    for each in messages:
        backlog.put(each)
    assert list(backlog.drain()) == messages
    assert list(backlog.drain()) == []


def test_history_ends_with_its_own_query() -> None:
    request = History(topic_filter="#", cut="text-of-its-own").request()
    assert "text-of-its-own" in json.dumps(request.parameters)
    assert "text-of-its-own" not in request.sql


def _end(follower: Follower) -> Received:
    return Received(
        topic=follower.request.response_topic or "",
        payload=b'{"rows":0,"chunks":0,"elapsed_s":0.1,"columns":[],"truncated":false,"error":null}',
        at=START_AT,
        correlation_data=follower.request.correlation_data,
        properties=(("final", "true"), ("parts", "0")),
    )
