"""Limits on what devices let the broker retain, sans-I/O.

Mosquitto 2.0 keeps every retained message in memory and sends it to every new subscriber, and has no limit for one client. The
recorder sees each of them, so it is the place to count; what is beyond a limit is removed again from the broker, never from the
recording. Counts begin at zero when the recorder starts.
"""

from broker.contract import device_filters
from broker.contract.roles import is_further
from broker.mqtt.topics import matches

MOST_OF_ONE, MOST_BYTES_OF_ONE = 1_000, 4 * 1024 * 1024
"""Topics with a retained message, and bytes of payload, of one room, machine or ship, or below one first level."""
MOST, MOST_BYTES = 10_000, 64 * 1024 * 1024
"""The same of all devices together."""
MOST_TO_REMOVE = 100_000
"""Topics that may wait for the removal of their message."""


class RetainedLimits:
    """Counts the retained messages of devices, and collects the topics on which there are too many."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self._bytes = 0
        self._owned: dict[str, tuple[int, int]] = {}
        """Topics and bytes of each owner."""
        self._excess: dict[str, None] = {}

    def take(self, topic: str, size: int) -> str | None:
        """Count a retained message with a payload of `size` bytes; return why it is too much, None if it is not.

        An empty one removes what was retained. Messages on topics that are not those of devices do not count.
        """
        owner = _owner(topic)
        if owner is None:
            return None
        self._forget(topic, owner)
        self._excess.pop(topic, None)
        if size == 0:
            return None
        count, total = self._owned.get(owner, (0, 0))
        if count >= MOST_OF_ONE or total + size > MOST_BYTES_OF_ONE:
            return self._refuse(topic, f"{owner} has", MOST_OF_ONE, MOST_BYTES_OF_ONE)
        if len(self._sizes) >= MOST or self._bytes + size > MOST_BYTES:
            return self._refuse(topic, "devices have", MOST, MOST_BYTES)
        self._sizes[topic] = size
        self._bytes += size
        self._owned[owner] = (count + 1, total + size)
        return None

    def to_remove(self, most: int) -> list[str]:
        """Return up to `most` topics whose retained message has to be removed, each once."""
        found = list(self._excess)[:most]
        for topic in found:
            del self._excess[topic]
        return found

    def _refuse(self, topic: str, who: str, most: int, most_bytes: int) -> str:
        if len(self._excess) < MOST_TO_REMOVE:
            self._excess[topic] = None
        return (
            f"{who} {most:,} retained messages or {most_bytes >> 20} MiB of them already, which is the limit: "
            "this one is recorded, and no longer retained"
        )

    def _forget(self, topic: str, owner: str) -> None:
        if (size := self._sizes.pop(topic, None)) is not None:
            count, total = self._owned[owner]
            self._bytes -= size
            self._owned[owner] = (count - 1, total - size)
            if count == 1:
                del self._owned[owner]


def _owner(topic: str) -> str | None:
    """Return the part of a topic that stands for one device: `/readings/office`, `machines/7`, or its first level."""
    if any(matches(each, topic) for each in device_filters()):
        levels = topic.split("/")
        return "/".join(levels[: 3 if topic.startswith("/") else 2])
    return topic.split("/")[0] if is_further(topic) else None
