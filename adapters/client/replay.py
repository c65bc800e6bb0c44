"""What a replay publishes, and when: recorded messages in, due publications out. No I/O, and no clock.

Marks and topics are those of `broker.contract.replay`.
"""

from dataclasses import dataclass
from datetime import datetime

from broker.contract.replay import MARK, ORIGINAL_BOOT, ORIGINAL_SEQ, ORIGINAL_SOURCE, PREFIX, SOURCE
from broker.errors import InvalidTopic
from broker.message import Publication
from broker.mqtt.topics import validate_topic
from broker.stamp import NO_STAMP, Stamp, rfc3339


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One message as it was recorded; `stamp` is what its publisher said of it."""

    received_at: datetime
    topic: str
    payload: bytes
    qos: int = 1
    stamp: Stamp = NO_STAMP


@dataclass(frozen=True, slots=True)
class Due:
    """One message to publish at `qos`, `at_s` wall seconds after the replay began. It carries its stamp already."""

    at_s: float
    qos: int
    publication: Publication


class Timeline:
    """Spreads messages over time as they were received, `speed` times as fast; None leaves no pauses at all.

    Where the clock ran backwards between two messages there is no pause: the later one of them was received later.
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
        at_s = self._timeline.at_s(recorded.received_at)
        topic = validate_topic(self.prefix + recorded.topic)
        self._seq += 1
        stamp = Stamp(SOURCE, self._boot, self._seq, recorded.stamp.plant_at)
        properties = (*stamp.user_properties(), *marks(recorded))
        return Due(at_s, recorded.qos, Publication(topic=topic, payload=recorded.payload, properties=properties))


def marks(recorded: Recorded) -> tuple[tuple[str, str], ...]:
    """Return the user properties that say of which message this is the replay."""
    stamp = recorded.stamp
    told = (
        (MARK, rfc3339(recorded.received_at)),
        (ORIGINAL_SOURCE, stamp.source),
        (ORIGINAL_BOOT, stamp.boot),
        (ORIGINAL_SEQ, None if stamp.seq is None else str(stamp.seq)),
    )
    return tuple((name, value) for name, value in told if value is not None)


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
        raise InvalidTopic(f"prefix {prefix!r} begins with $: those topics are the broker's own")
    return validate_topic(prefix)


def original_topic(topic: str, prefix: str = PREFIX) -> str | None:
    """Return the topic that was replayed to `topic`, None where it is not below the prefix."""
    return topic.removeprefix(prefix) if topic.startswith(prefix) and topic != prefix else None
