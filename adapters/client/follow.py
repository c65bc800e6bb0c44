"""History, then live, without gap or repeat.

A broker hands the same messages in the same order to every subscriber. So the question for the history, when the broker
hands it back to us like to everybody, marks one place in that order for us and for the recorder: what came before it is in the
recorder's answer (a query sees all that reached the recorder before it, and this one ends with itself), what comes after it is
live.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from adapters.client import recorder
from adapters.client.answers import read_arrow
from adapters.client.backlog import Backlog
from adapters.client.bus import Bus, Received
from adapters.client.history import History, newest_at
from adapters.client.question import Part, Question
from adapters.client.rows import ArrowRows
from broker.contract.storage.topics import QUERY, QueryEnd
from broker.mqtt.topics import matches

_STEP_S = 1.0


@dataclass(frozen=True, slots=True)
class Live:
    """A message that was published after the history."""

    received: Received


@dataclass(frozen=True, slots=True)
class Caught:
    """The history is complete; from here on it is live."""


Event = ArrowRows | Caught | Live


class Follower:
    """Sorts what arrives into history, live, and what has to wait. Sans-I/O: `take` is given every message in its order.

    After a `take`, `next_question` has what must be asked next, where the recorder has cut the answer.
    """

    def __init__(self, history: History, client_id: str, backlog: Backlog | None = None) -> None:
        self._history, self._client_id = history, client_id
        self._backlog = backlog or Backlog()
        self._newest_at = history.since_at
        self._cut = False
        self.caught = False
        self.question = Question(history.request(), client_id)
        self.next_question: Question | None = None

    def take(self, received: Received) -> Iterator[Event]:
        """Return what can be shown now.

        Raises:
            CommandError: the recorder answers with an error, stops, or a part of its answer is missing.
        """
        if self.question.is_itself(received):
            self._cut = True
        elif self.caught:
            yield from self._live(received)
        elif (event := recorder.take(self.question, received)) is not None:
            yield from self._answered(event)
        elif self._cut and self._wanted(received):
            self._backlog.put(received)

    def _answered(self, event: Part | QueryEnd) -> Iterator[Event]:
        if isinstance(event, Part):
            schema, batches = read_arrow(event)
            self._newest_at = max(filter(None, (self._newest_at, *map(newest_at, batches))), default=None)
            yield ArrowRows(schema, batches)
        elif event.truncated:
            self.question = self.next_question = Question(self._history.request(self._newest_at), self._client_id)
        else:
            self.caught = True
            yield Caught()
            yield from (Live(each) for each in self._backlog.drain())

    def _live(self, received: Received) -> Iterator[Event]:
        if self._wanted(received):
            yield Live(received)

    def _wanted(self, received: Received) -> bool:
        return received.topic != self.question.response_topic and matches(self._history.topic_filter, received.topic)


def follow(bus: Bus, history: History) -> Iterator[Event]:
    """Return the history and then live messages for ever.

    Raises:
        CommandError: the recorder does not answer, or the broker refuses.
        ConnectionLost: the broker went away.
    """
    follower = Follower(history, bus.client_id)
    subscribe(bus, history.topic_filter, follower.question.response_topic)
    patience_s = recorder.put(bus, follower.question)
    while True:
        received = bus.receive(_STEP_S if follower.caught else patience_s)
        if received is not None:
            yield from follower.take(received)
        elif not follower.caught:
            raise recorder.silent(patience_s)
        if follower.next_question is not None:
            question, follower.next_question = follower.next_question, None
            recorder.put(bus, question)


def subscribe(bus: Bus, topic_filter: str, response_topic: str) -> None:
    """Subscribe to the filter and to what marks the cut; overlapping subscriptions could bring messages twice.

    At QoS 1: paho hands out a message of QoS 2 only when its second handshake is through, after others that came later.
    """
    own = [QUERY.template.text, response_topic, recorder.STATE_TOPIC]
    bus.subscribe(topic_filter, *(each for each in own if not matches(topic_filter, each)))


def live(bus: Bus, topic_filter: str) -> Iterator[Live]:
    """Return messages that are published from now on, for ever; subscribed already.

    Raises:
        ConnectionLost: the broker went away.
    """
    while True:
        received = bus.receive(_STEP_S)
        if received is not None and matches(topic_filter, received.topic):
            yield Live(received)
