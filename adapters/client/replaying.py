"""Recorded messages on their way back to the broker: which they are, and one run of publishing them at their times."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from adapters.cli.output.progress import Progress
from adapters.client.bus import Bus
from adapters.client.pages import Extent, PageSize, Selection, extent, pages, received
from adapters.client.rows import plain
from adapters.client.session import Session, rows_of
from broker.contract.replay import PREFIX, SOURCE
from broker.contract.sql import Condition, topic_condition
from broker.contract.storage import topics as storage
from broker.errors import InvalidTopic
from broker.stamp import Stamp, rfc3339

if TYPE_CHECKING:
    import pyarrow as pa

    from adapters.client.replay import Recorded, Replay

COLUMNS = ("number", "received_at", "event_at", "topic", "payload", "payload_raw", "qos", "source", "boot", "seq")
_PAGE = PageSize(10_000, 8 * 1024 * 1024)
"""Small, since nothing is published while a page is read."""
_AT_ONCE_S = 0.001
_STEP_S = 0.5


def replayable(topic_filter: str, prefix: str, since_at: datetime | None, until_at: datetime | None) -> Condition:
    """Return the condition for what can be replayed: no replay of a replay, nothing of the recorder's own, nothing of $SYS."""
    own = [f"NOT {_on(stream.template.text)}" for stream in storage.STREAMS]
    rules = " AND ".join(
        ["NOT starts_with(topic, '$')", *own, "NOT starts_with(topic, $replays)", "source IS DISTINCT FROM $me"]
    )
    condition = (
        topic_condition(topic_filter) & received(since_at, until_at) & Condition(rules, {"replays": PREFIX, "me": SOURCE})
    )
    if prefix in ("", PREFIX):
        return condition
    return condition & Condition("NOT starts_with(topic, $target)", {"target": prefix})


def _on(template: str) -> str:
    """Return the condition for the topics of a template of ours, which may have one level to fill in, at its end."""
    plain, brace, _ = template.partition("{")
    return f"starts_with(topic, '{plain}')" if brace else f"(topic = '{plain}')"


@dataclass(frozen=True, slots=True)
class Span:
    """What is going to be replayed: how many messages, and when the first and the last of them were received."""

    extent: Extent
    first_at: datetime | None
    last_at: datetime | None

    @property
    def duration_s(self) -> float:
        """Seconds between the first and the last message."""
        return 0.0 if self.first_at is None or self.last_at is None else (self.last_at - self.first_at).total_seconds()


def span(session: Session, selection: Selection) -> Span:
    """Look at what is selected now; what is recorded later does not belong to it.

    Raises:
        ClientError: nobody can answer.
    """
    found = extent(session, selection)
    columns = "arg_min(received_at, number) AS first_at, arg_max(received_at, number) AS last_at"
    sql = selection.sql(columns, f" AND number <= {found.last}")
    return Span(found, **rows_of(session, sql, selection.condition.parameters)[0])


def topics(session: Session, selection: Selection, found: Span) -> list[dict[str, Any]]:
    """Return what would be replayed of each topic.

    Raises:
        ClientError: nobody can answer.
    """
    columns = "topic, count(*) AS messages, min(received_at) AS first_at, max(received_at) AS last_at"
    tail = f" AND number <= {found.extent.last} GROUP BY topic ORDER BY topic"
    return rows_of(session, selection.sql(columns, tail), selection.condition.parameters)


def recorded(session: Session, selection: Selection, found: Span) -> "Iterator[Recorded]":
    """Return the selected messages in the order of their arrival.

    Raises:
        ClientError: nobody can answer.
    """
    for page in pages(session, selection, found.extent, _PAGE):
        for batch in page:
            yield from _messages(batch)


def _messages(batch: "pa.RecordBatch") -> "Iterator[Recorded]":
    from adapters.client.replay import Recorded
    from broker.contract.storage.values import python_values

    columns = [python_values(plain(batch.column(name))) for name in COLUMNS[1:]]
    for received_at, event_at, topic, text, raw, qos, source, boot, seq in zip(*columns, strict=True):
        payload = raw if text is None else text.encode()
        yield Recorded(received_at=received_at, topic=topic, payload=payload, qos=qos, stamp=Stamp(source, boot, seq, event_at))


class Run:
    """Publishes messages when they are due; afterwards, or when it was stopped, its numbers say how far it came."""

    def __init__(self, bus: Bus, replay: "Replay", bar: Progress, duration_s: float | None) -> None:
        """Prepare a run that will take `duration_s`; None where that depends on the broker alone."""
        self._bus, self._replay, self._bar, self._duration_s = bus, replay, bar, duration_s
        self._began_s: float | None = None
        self.published = self.skipped = 0
        self.last_at: datetime | None = None
        self.behind_s = 0.0
        """How late the latest message was published at most."""

    @property
    def elapsed_s(self) -> float:
        """Wall seconds since the first message."""
        return 0.0 if self._began_s is None else time.monotonic() - self._began_s

    @property
    def position(self) -> str:
        """How far the replay came, in the time of the recording."""
        return "" if self.last_at is None else rfc3339(self.last_at)[:19] + "Z"

    def publish(self, messages: "Iterator[Recorded]") -> None:
        """Publish messages, each at its time, and wait until the broker has all of them.

        Raises:
            Refused: the broker refuses one.
            Unreachable: the broker went away.
            ClientError: the rest of them cannot be read.
        """
        for message in messages:
            self._publish(message)
        self._bus.settle()

    def _publish(self, message: "Recorded") -> None:
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
        self._bar.advance(1, self.position, self._left_s())

    def _wait_until(self, at_s: float) -> None:
        while (wait_s := at_s - self.elapsed_s) > _AT_ONCE_S:
            self._bus.idle(min(wait_s, _STEP_S))
            self._bar.advance(0, self.position, self._left_s())
        self.behind_s = max(self.behind_s, -wait_s if self._duration_s is not None else 0.0)

    def _left_s(self) -> float | None:
        return None if self._duration_s is None else self._duration_s - self.elapsed_s
