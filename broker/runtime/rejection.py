"""Rejected messages: a payload that cannot be used is published on `rejected/{component}` with the reason, cut at 8 MiB.

A component raises `Rejected`, and `Runtime._reject` publishes it. Beyond a limit, rejections are counted and reported together
(`Overload`). What does not arrive over MQTT is rejected where it is decoded: frames of chargers in
`adapters/chargers/clients.py`, HTTP bodies in `adapters/energy_api/routes.py`. The recorder lists all of it in the table
`rejected_message`, and adds payloads that do not fit a typed table (`storage/schema/typed_streams.py`), which it does not
publish.
"""

import base64
from datetime import UTC, datetime

from broker.admission import TokenBucket
from broker.contract.components.topics import REJECTED, RejectedMessage
from broker.log import Log
from broker.message import Publication

log = Log(__name__)

LARGEST_REJECTED_BYTES = 8 * 1024 * 1024
MOST_PUBLISHED, PUBLISHED_PER_S = 1_000, 20.0
"""Rejections that are published one by one: at once, and then per wall second."""
MOST_LOGGED, LOGGED_PER_S = 100, 1.0
SUMMARY_S = 10.0
CALM_S = 60.0
"""Wall seconds without a suppressed rejection after which the warning is removed."""


def rejection(component: str, topic: str, payload: bytes, reason: str, count: int = 1) -> Publication:
    """Return the publication for a payload, cut at 8 MiB; one that is not UTF-8 is in base64.

    Args:
        component: name of the component that could not use it.
        topic: topic it arrived on, or would have been published to.
        payload: as received.
        reason: text for people.
        count: number of messages that it stands for.
    """
    kept = payload[:LARGEST_REJECTED_BYTES]
    size = len(payload) if len(payload) > len(kept) else None
    try:
        text, encoding = kept.decode(), "utf-8"
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(kept).decode(), "base64"
    message = RejectedMessage(
        topic=topic, reason=reason, payload=text, at=datetime.now(UTC), encoding=encoding, size=size, count=count
    )
    return REJECTED.publication(message, component=component)


class Overload:
    """What a component could not do one by one: rejections beyond the limit are counted, and dropped publications too.

    Times are wall seconds that never go back.
    """

    def __init__(self, component: str) -> None:
        self._component = component
        self._published = TokenBucket(MOST_PUBLISHED, PUBLISHED_PER_S)
        self._logged = TokenBucket(MOST_LOGGED, LOGGED_PER_S)
        self._last: tuple[str, bytes, str] | None = None
        self._suppressed = self._unlogged = self._dropped = 0
        self._summary_due_s = self._calm_s = 0.0
        self.warning: str | None = None
        """For people, while it is going on."""

    def reject(self, topic: str, payload: bytes, reason: str, now_s: float) -> Publication | None:
        """Return the rejection of a message; None where it is only counted, for `summary`."""
        if self._logged.take(now_s):
            log.warning("message-rejected", "rejected a message on %(topic)s: %(reason)s", topic=topic, reason=reason)
        else:
            self._unlogged += 1
        if self._published.take(now_s):
            return rejection(self._component, topic, payload, reason)
        self._suppressed += 1
        self._last = topic, payload, reason
        return None

    def summary(self, dropped: int, now_s: float) -> list[Publication]:
        """Log and return what was only counted since the last summary, at most every 10 s, and update `warning`.

        Args:
            dropped: publications dropped while the broker was connected, since the start.
            now_s: wall seconds.
        """
        if now_s < self._summary_due_s:
            return []
        texts, publications = [], []
        if self._unlogged:
            log.warning("messages-rejected", "rejected %(count)d more messages", count=self._unlogged)
        if self._suppressed and self._last is not None:
            topic, payload, reason = self._last
            text = f"{self._suppressed} more messages were rejected, too many to publish each one: `messages` has them"
            publications = [rejection(self._component, topic, payload, f"{text}; the last: {reason}", self._suppressed)]
            texts.append(
                f"{self._suppressed} messages were rejected too fast to publish each one, the last on {topic}: {reason}"
            )
        if dropped > self._dropped:
            texts.append(f"{dropped - self._dropped} publications were dropped: they come faster than the broker takes them")
        if texts:
            self.warning, self._calm_s = "; ".join(texts), now_s + CALM_S
            self._summary_due_s = now_s + SUMMARY_S
        elif self.warning is not None and now_s >= self._calm_s:
            self.warning = None
        self._suppressed, self._unlogged, self._dropped = 0, 0, dropped
        return publications
