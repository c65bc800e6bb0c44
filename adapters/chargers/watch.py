"""Whether clients are still there: silent ones are pinged, and given up where they do not answer. Pure.

Costs nothing for a client that says something from time to time, and little for the others: only the ends of two queues are
looked at.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

C = TypeVar("C", bound=Hashable)

SILENT_S = 10.0
"""A client that has been silent for so long is pinged."""
ANSWER_S = 10.0
"""How long it may take to answer: a dead client is noticed 20 s after its last word."""
HANDSHAKE_S = 10.0
MOST_PINGS = 400
"""Pings at once; twenty thousand clients that all connected in one instant are not pinged in one."""


class Watch(Generic[C]):
    """All connections of a server, by when something was heard of them last."""

    def __init__(self) -> None:
        self._strangers: OrderedDict[C, float] = OrderedDict()
        """In their handshake, since when."""
        self._heard: OrderedDict[C, float] = OrderedDict()
        self._pinged: OrderedDict[C, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._strangers) + len(self._heard) + len(self._pinged)

    def came(self, connection: C, now_s: float) -> None:
        """Take a connection whose handshake begins."""
        self._strangers[connection] = now_s

    def oldest_stranger(self) -> C | None:
        """Return the connection whose handshake has taken longest, None where there is none."""
        return next(iter(self._strangers), None)

    def heard(self, connection: C, now_s: float) -> None:
        """Note that a connection whose handshake is over has said something."""
        if self._strangers:
            self._strangers.pop(connection, None)
        if self._pinged:
            self._pinged.pop(connection, None)
        self._heard[connection] = now_s
        self._heard.move_to_end(connection)

    def left(self, connection: C) -> None:
        """Forget a connection."""
        for queue in (self._strangers, self._heard, self._pinged):
            queue.pop(connection, None)

    def to_ping(self, now_s: float) -> list[C]:
        """Return the connections to ping now, which are then waited for."""
        due = _due(self._heard, now_s - SILENT_S, MOST_PINGS)
        self._pinged.update(dict.fromkeys(due, now_s))
        return due

    def to_give_up(self, now_s: float) -> list[C]:
        """Return the connections that have not answered; they are forgotten."""
        return _due(self._pinged, now_s - ANSWER_S)

    def too_slow(self, now_s: float) -> list[C]:
        """Return the connections whose handshake takes too long; they are forgotten."""
        return _due(self._strangers, now_s - HANDSHAKE_S)


def _due(queue: "OrderedDict[C, float]", before_s: float, most: int | None = None) -> list[C]:
    """Take those from the front that are there since `before_s` or longer."""
    due: list[C] = []
    while queue and len(due) != most:
        connection, since_s = next(iter(queue.items()))
        if since_s > before_s:
            break
        del queue[connection]
        due.append(connection)
    return due
