"""History, then live messages, without a gap or a repeat.

A broker delivers the same messages in the same order to every subscriber. So the query for the history, which the broker
delivers to its sender too, marks one place in that order for the client and for the recorder: what came before it is in the
answer (a query sees all that reached the recorder before it, and this one ends with itself), what comes after it is live.
"""

import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import msgspec

from adapters.client.answers import end_of, read_arrow
from adapters.client.bus import Bus, Received
from adapters.client.history import COLUMNS, History, last_number
from adapters.client.recorder import PATIENCE_S, RECORDER, STATE_TOPIC
from adapters.client.requests import Requests
from adapters.client.rows import ArrowRows
from broker.contract.storage import answers
from broker.contract.storage.topics import ANSWER, QUERY
from broker.exchange import Exchange, Final, Part
from broker.message import Publication
from broker.mqtt.topics import matches

_STEP_S = 1.0
_LENGTH_BYTES = 4
MOST_IN_MEMORY = 10_000


@dataclass(frozen=True, slots=True)
class Live:
    """A message that was published after the history."""

    received: Received


@dataclass(frozen=True, slots=True)
class HistoryEnd:
    """The history is complete; live messages follow."""


Event = ArrowRows | HistoryEnd | Live


class Backlog:
    """Live messages that wait until the history is complete: `most_in_memory` at most, the rest in a temporary file."""

    def __init__(self, most_in_memory: int = MOST_IN_MEMORY) -> None:
        self._most_in_memory = most_in_memory
        self._memory: deque[Received] = deque()
        self._file: IO[bytes] | None = None
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Received)

    def put(self, received: Received) -> None:
        """Append a message."""
        if self._file is None and len(self._memory) < self._most_in_memory:
            self._memory.append(received)
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="scaup-tail-")  # noqa: SIM115 - closed when it has been drained
        packed = self._encoder.encode(received)
        self._file.write(len(packed).to_bytes(_LENGTH_BYTES) + packed)

    def drain(self) -> Iterator[Received]:
        """Remove and return the messages in their order."""
        while self._memory:
            yield self._memory.popleft()
        if self._file is None:
            return
        self._file.seek(0)
        while length := self._file.read(_LENGTH_BYTES):
            yield self._decoder.decode(self._file.read(int.from_bytes(length)))
        self._file.close()
        self._file = None


class Follower:
    """Sorts messages into history, live ones, and those that have to wait. Sans-I/O: `take` gets every message in its order.

    `request` is the query to publish first. After a `take`, `next_request` is the one to publish next, where the recorder cut
    its answer.
    """

    def __init__(self, history: History, exchange: Exchange, backlog: Backlog | None = None) -> None:
        self._history, self._exchange = history, exchange
        self._backlog = backlog or Backlog()
        self._last: int | None = None
        self._cut = False
        self.complete = False
        self.request = self._query(None)
        self.next_request: Publication | None = None

    def take(self, received: Received) -> Iterator[Event]:
        """Return what can be shown now.

        Raises:
            ClientError: the recorder answers with an error, stops, or a part of its answer is missing.
        """
        if received.topic == QUERY.template.text and received.correlation_data == self.request.correlation_data:
            self._cut = True
        elif self.complete:
            yield from self._live(received)
        elif (event := RECORDER.take(self._exchange, received)) is not None:
            yield from self._answered(event)
        elif self._cut and self._wanted(received):
            self._backlog.put(received)

    def _query(self, after: int | None) -> Publication:
        query = self._history.request(after)
        self._sql = query.sql
        return self._exchange.request(answers.query(query))

    def _answered(self, event: Part | Final) -> Iterator[Event]:
        if isinstance(event, Part):
            _, batches = read_arrow(event)
            for batch in batches:
                self._last = last_number(batch, self._last)
                shown = batch.select(COLUMNS)
                yield ArrowRows(shown.schema, [shown])
        elif end_of(event, self._sql).truncated:
            self.request = self.next_request = self._query(self._last)
        else:
            self.complete = True
            yield HistoryEnd()
            yield from (Live(each) for each in self._backlog.drain())

    def _live(self, received: Received) -> Iterator[Event]:
        if self._wanted(received):
            yield Live(received)

    def _wanted(self, received: Received) -> bool:
        return received.topic != self._exchange.response_topic and matches(self._history.topic_filter, received.topic)


def follow(bus: Bus, history: History) -> Iterator[Event]:
    """Return the history and then live messages for ever.

    Raises:
        ClientError: the recorder does not answer, or the broker refuses.
        ConnectionLost: the connection to the broker was lost.
    """
    requests = Requests(bus, RECORDER, ANSWER.template.topic(client=bus.answer_name))
    follower = Follower(history, requests.exchange)
    subscribe(bus, history.topic_filter)
    requests.publish(follower.request, round(PATIENCE_S))
    while True:
        received = bus.receive(_STEP_S if follower.complete else PATIENCE_S)
        if received is not None:
            yield from follower.take(received)
        elif not follower.complete:
            raise RECORDER.silent(PATIENCE_S)
        if follower.next_request is not None:
            request, follower.next_request = follower.next_request, None
            requests.publish(request, round(PATIENCE_S))


def subscribe(bus: Bus, topic_filter: str) -> None:
    """Subscribe to the filter, to queries and to the recorder's replies; overlapping subscriptions could bring messages twice.

    At QoS 1: paho hands out a message of QoS 2 only when its second handshake is through, after others that came later.
    """
    own = (QUERY.template.topic(), ANSWER.template.topic(client=bus.answer_name), STATE_TOPIC)
    bus.subscribe(topic_filter, *(each for each in own if not matches(topic_filter, each)))


def live(bus: Bus, topic_filter: str) -> Iterator[Live]:
    """Return messages that are published from now on, for ever; subscribed already.

    Raises:
        ConnectionLost: the connection to the broker was lost.
    """
    while True:
        received = bus.receive(_STEP_S)
        if received is not None and matches(topic_filter, received.topic):
            yield Live(received)
