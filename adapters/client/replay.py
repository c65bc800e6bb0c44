"""Replay: which recorded messages are published again, as what, and when.

Marks and topics are those of `broker.contract.replay`. `Replay` decides without I/O and without a clock, `Run` publishes.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from adapters.client.bus import Bus
from adapters.client.pages import Extent, PageSize, Selection, extent, pages
from adapters.client.rows import plain
from adapters.client.session import Session, rows_of
from broker.contract.replay import MARK, ORIGINAL_BOOT, ORIGINAL_SEQ, ORIGINAL_SOURCE, PREFIX, SOURCE
from broker.contract.sql import Condition, received, topic_condition
from broker.contract.storage import topics as storage
from broker.errors import InvalidTopic
from broker.message import Publication
from broker.mqtt.topics import validate_topic
from broker.stamp import NO_STAMP, Stamp, rfc3339

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("number", "received_at", "event_at", "topic", "payload", "payload_raw", "qos", "source", "boot", "seq")
"""The columns of `messages` that a replay reads."""
_PAGE = PageSize(10_000, 8 * 1024 * 1024)
"""Small, since nothing is published while a page is read."""
_AT_ONCE_S = 0.001
_STEP_S = 0.5
_JUMP = timedelta(minutes=1)

Advance = Callable[[int, str, float | None], None]
"""Gets the number of messages published since the last call, the position in the recording, and the seconds left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A recorded message; `stamp` is the one of its publisher, `arrived_at` differs from `received_at` where that is wrong."""

    received_at: datetime
    arrived_at: datetime | None = None
    topic: str
    payload: bytes
    qos: int = 1
    stamp: Stamp = NO_STAMP


@dataclass(frozen=True, slots=True)
class Due:
    """A message to publish at `qos`, `at_s` wall seconds after the replay began. It is stamped already."""

    at_s: float
    qos: int
    publication: Publication


class Timeline:
    """Spreads messages over time as they were received, `speed` times as fast; None leaves no pauses at all.

    Where the clock was set back between two messages there is no pause.
    """

    def __init__(self, speed: float | None = 1.0) -> None:
        """Start at the first message.

        Raises:
            ValueError: the speed is not a positive, finite number.
        """
        if speed is not None and not 0 < speed < float("inf"):
            raise ValueError(f"a speed is a positive number, not {speed:g}")
        self._speed = speed
        self._elapsed_s = 0.0
        self._previous_at: datetime | None = None

    def at_s(self, received_at: datetime) -> float:
        """Return when the next message is due, in wall seconds after the first one; never less than for the one before."""
        if self._previous_at is not None:
            self._elapsed_s += max(0.0, (received_at - self._previous_at).total_seconds())
        self._previous_at = received_at
        return 0.0 if self._speed is None else self._elapsed_s / self._speed


class Replay:
    """Turns recorded messages, in the order of their arrival, into publications: marked, numbered, never retained."""

    def __init__(self, boot: str, prefix: str = PREFIX, speed: float | None = 1.0) -> None:
        """Begin a replay; `boot` is the id of this start, `prefix` goes before each topic.

        Raises:
            InvalidTopic: no topic can begin with the prefix.
            ValueError: the speed is not a positive, finite number.
        """
        self.prefix = valid_prefix(prefix)
        self._timeline, self._boot, self._seq = Timeline(speed), boot, 0

    def next(self, recorded: Recorded) -> Due:
        """Return the next message to publish.

        Raises:
            InvalidTopic: the topic is too long with the prefix, or was never one that may be published to.
        """
        at_s = self._timeline.at_s(recorded.arrived_at or recorded.received_at)
        topic = validate_topic(self.prefix + recorded.topic)
        self._seq += 1
        stamp = Stamp(SOURCE, self._boot, self._seq, recorded.stamp.plant_at)
        properties = (*stamp.user_properties(), *marks(recorded))
        return Due(at_s, recorded.qos, Publication(topic=topic, payload=recorded.payload, properties=properties))


def marks(recorded: Recorded) -> tuple[tuple[str, str], ...]:
    """Return the user properties that identify the original message."""
    stamp = recorded.stamp
    given = (
        (MARK, rfc3339(recorded.received_at)),
        (ORIGINAL_SOURCE, stamp.source),
        (ORIGINAL_BOOT, stamp.boot),
        (ORIGINAL_SEQ, None if stamp.seq is None else str(stamp.seq)),
    )
    return tuple((name, value) for name, value in given if value is not None)


def valid_prefix(prefix: str) -> str:
    """Return `prefix` if it can go before every topic: empty, or whole levels such as `replay/` and `replay/monday/`.

    Raises:
        InvalidTopic: it does not end with a slash, begins with `$`, or holds a wildcard or a control character.
    """
    if not prefix:
        return prefix
    if not prefix.endswith("/"):
        raise InvalidTopic(f"prefix {prefix!r} does not end with a slash: 'a' before 'b/c' would be the topic 'ab/c'")
    if prefix.startswith("$"):
        raise InvalidTopic(f"prefix {prefix!r} begins with $: such topics belong to the broker")
    return validate_topic(prefix)


def replayable(topic_filter: str, prefix: str, since_at: datetime | None, until_at: datetime | None) -> Condition:
    """Return the condition for messages that can be replayed: no replays, no storage topics, nothing below $SYS."""
    storage_topics = [f"NOT {_on(stream.template.text)}" for stream in storage.STREAMS]
    rules = " AND ".join(
        ["NOT starts_with(topic, '$')", *storage_topics, "NOT starts_with(topic, $replays)", "source IS DISTINCT FROM $me"]
    )
    condition = (
        topic_condition(topic_filter) & received(since_at, until_at) & Condition(rules, {"replays": PREFIX, "me": SOURCE})
    )
    if prefix in ("", PREFIX):
        return condition
    return condition & Condition("NOT starts_with(topic, $target)", {"target": prefix})


def _on(template: str) -> str:
    """Return the condition for the topics of a template, which may have one placeholder, at its end."""
    plain, brace, _ = template.partition("{")
    return f"starts_with(topic, '{plain}')" if brace else f"(topic = '{plain}')"


@dataclass(frozen=True, slots=True)
class Span:
    """The messages to replay: their number, and when the first and the last of them were received."""

    extent: Extent
    first_at: datetime | None
    last_at: datetime | None

    @property
    def duration_s(self) -> float:
        """Seconds between the first and the last message."""
        return 0.0 if self.first_at is None or self.last_at is None else (self.last_at - self.first_at).total_seconds()


def span(session: Session, selection: Selection) -> Span:
    """Return the span of what is selected now; messages recorded later are not replayed.

    Raises:
        ClientError: there is no answer.
    """
    found = extent(session, selection)
    columns = "arg_min(received_at, number) AS first_at, arg_max(received_at, number) AS last_at"
    sql = selection.sql(columns, f" AND number <= {found.last}")
    return Span(found, **rows_of(session, sql, selection.condition.parameters)[0])


def topics(session: Session, selection: Selection, found: Span) -> list[dict[str, Any]]:
    """Return one row per topic: number of messages, and when the first and the last of them were received.

    Raises:
        ClientError: there is no answer.
    """
    columns = "topic, count(*) AS messages, arg_min(received_at, number) AS first_at, arg_max(received_at, number) AS last_at"
    tail = f" AND number <= {found.extent.last} GROUP BY topic ORDER BY topic"
    return rows_of(session, selection.sql(columns, tail), selection.condition.parameters)


def recorded(session: Session, selection: Selection, found: Span) -> Iterator[Recorded]:
    """Return the selected messages in the order of their arrival.

    Raises:
        ClientError: there is no answer.
    """
    last_at: datetime | None = None
    for page in pages(session, selection, found.extent, _PAGE):
        messages = [message for batch in page for message in _messages(batch)]
        for message, arrived_at in zip(messages, arrivals([each.received_at for each in messages], last_at), strict=True):
            yield message if arrived_at == message.received_at else replace(message, arrived_at=arrived_at)
            last_at = arrived_at


def _messages(batch: "pa.RecordBatch") -> Iterator[Recorded]:
    from broker.contract.storage.values import python_values

    columns = [python_values(plain(batch.column(name))) for name in COLUMNS[1:]]
    for received_at, event_at, topic, text, raw, qos, source, boot, seq in zip(*columns, strict=True):
        payload = raw if text is None else text.encode()
        yield Recorded(received_at=received_at, topic=topic, payload=payload, qos=qos, stamp=Stamp(source, boot, seq, event_at))


def arrivals(times: Sequence[datetime], last_at: datetime | None = None) -> Iterator[datetime]:
    """Return the times of reception of messages in their order, put right where the clock was ahead for a while.

    A time that is more than `_JUMP` after the one before, while a later message has an earlier time, is that of a wrong clock:
    the message arrived before that later one. `last_at` is the time before the first.
    """
    earliest_after = list(accumulate(reversed(times), min))[::-1]
    for received_at, right_at in zip(times, earliest_after, strict=True):
        arrived_at = received_at
        if last_at is not None and right_at < received_at and received_at - last_at > _JUMP:
            arrived_at = max(last_at, right_at)
        yield arrived_at
        last_at = arrived_at


class Run:
    """Publishes messages when they are due. Its numbers report how far it came, also when it was stopped."""

    def __init__(self, bus: Bus, replay: Replay, advance: Advance, duration_s: float | None) -> None:
        """Prepare a run that will take `duration_s`; None where that depends on the broker alone."""
        self._bus, self._replay, self._advance, self._duration_s = bus, replay, advance, duration_s
        self._began_s: float | None = None
        self.published = self.skipped = 0
        self.last_at: datetime | None = None
        self.behind_s = 0.0
        """The longest delay of a message after it was due."""

    @property
    def elapsed_s(self) -> float:
        """Wall seconds since the first message."""
        return 0.0 if self._began_s is None else time.monotonic() - self._began_s

    @property
    def position(self) -> str:
        """When the last published message was recorded, as text."""
        return "" if self.last_at is None else rfc3339(self.last_at)[:19] + "Z"

    def publish(self, messages: Iterator[Recorded]) -> None:
        """Publish messages, each at its time, and wait until the broker has all of them.

        Raises:
            Refused: the broker refuses one.
            Unreachable: the connection to the broker was lost.
            ClientError: the other messages cannot be read.
        """
        for message in messages:
            self._publish(message)
        self._bus.settle()

    def _publish(self, message: Recorded) -> None:
        if self._began_s is None:
            self._began_s = time.monotonic()
        try:
            due = self._replay.next(message)
        except InvalidTopic:
            self.skipped += 1
        else:
            self._wait_until(due.at_s)
            self._bus.post(due.publication, due.qos)
            self.published += 1
        self.last_at = message.received_at
        self._advance(1, self.position, self._left_s())

    def _wait_until(self, at_s: float) -> None:
        while (wait_s := at_s - self.elapsed_s) > _AT_ONCE_S:
            self._bus.idle(min(wait_s, _STEP_S))
            self._advance(0, self.position, self._left_s())
        self.behind_s = max(self.behind_s, -wait_s if self._duration_s is not None else 0.0)

    def _left_s(self) -> float | None:
        return None if self._duration_s is None else self._duration_s - self.elapsed_s
