"""Keepalive: silent clients are pinged, and dropped if they do not answer. Pure.

Costs nothing for a client that sends from time to time, and little for the others: only the ends of the queues are looked at.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

C = TypeVar("C", bound=Hashable)

SILENT_S = 10.0
"""A client that has been silent for this long is pinged."""
ANSWER_S = 10.0
"""Longest time for an answer: a dead client is noticed 20 s after its last bytes."""
HANDSHAKE_S = 10.0
MOST_PINGS = 400
"""Pings at a time: twenty thousand clients that connected in the same instant are pinged over many sweeps."""


class Keepalive(Generic[C]):
    """All connections of a server, in the order of their last activity."""

    def __init__(self) -> None:
        self._handshakes: OrderedDict[C, float] = OrderedDict()
        """Connections in their handshake, since when."""
        self._active: OrderedDict[C, float] = OrderedDict()
        self._pinged: OrderedDict[C, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._handshakes) + len(self._active) + len(self._pinged)

    def add(self, connection: C, now_s: float) -> None:
        """Take a connection whose handshake begins."""
        self._handshakes[connection] = now_s

    def slowest_handshake(self) -> C | None:
        """Return the connection whose handshake has taken longest, None where there is none."""
        return next(iter(self._handshakes), None)

    def active(self, connection: C, now_s: float) -> None:
        """Note that a connection whose handshake is complete has sent something."""
        if self._handshakes:
            self._handshakes.pop(connection, None)
        if self._pinged:
            self._pinged.pop(connection, None)
        self._active[connection] = now_s
        self._active.move_to_end(connection)

    def remove(self, connection: C) -> None:
        """Remove a connection."""
        for queue in (self._handshakes, self._active, self._pinged):
            queue.pop(connection, None)

    def to_ping(self, now_s: float) -> list[C]:
        """Return the connections to ping now; their answers are expected from then on."""
        due = _due(self._active, now_s - SILENT_S, MOST_PINGS)
        self._pinged.update(dict.fromkeys(due, now_s))
        return due

    def unanswered(self, now_s: float) -> list[C]:
        """Remove and return the connections that have not answered a ping in time."""
        return _due(self._pinged, now_s - ANSWER_S)

    def overdue_handshakes(self, now_s: float) -> list[C]:
        """Remove and return the connections whose handshake takes too long."""
        return _due(self._handshakes, now_s - HANDSHAKE_S)


def _due(queue: "OrderedDict[C, float]", before_s: float, most: int | None = None) -> list[C]:
    """Remove from the front, and return, what was added at `before_s` or earlier, `most` at most."""
    due: list[C] = []
    while queue and len(due) != most:
        connection, since_s = next(iter(queue.items()))
        if since_s > before_s:
            break
        del queue[connection]
        due.append(connection)
    return due
