"""Publications on their way to the broker: a bounded queue, and the window of those in flight."""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Outbox(Generic[T]):
    """Keeps publications in order until the broker has acknowledged them, through any number of reconnects.

    At most `capacity` publications wait, of at most `most_bytes` together as `size` counts them, though one may always wait. To
    make room, the oldest waiting ones are dropped, and counted in `dropped`.
    """

    def __init__(self, capacity: int, most_bytes: int, size: Callable[[T], int]) -> None:
        self._capacity, self._most_bytes, self._size = capacity, most_bytes, size
        self._waiting: deque[T] = deque()
        self._waiting_bytes = 0
        self._in_flight: dict[int, T] = {}
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._in_flight)

    @property
    def waiting(self) -> int:
        """The number of publications that have not been sent yet."""
        return len(self._waiting)

    def put(self, item: T, urgent: bool = False) -> None:
        """Append one publication, or put an urgent one before all others that wait."""
        size = self._size(item)
        while self._waiting and (len(self._waiting) >= self._capacity or self._waiting_bytes + size > self._most_bytes):
            self._waiting_bytes -= self._size(self._waiting.popleft())
            self.dropped += 1
        self._waiting_bytes += size
        if urgent:
            self._waiting.appendleft(item)
        else:
            self._waiting.append(item)

    def take(self, window: int) -> T | None:
        """Remove the next publication to send, None while `window` are in flight or nothing waits."""
        if not self._waiting or len(self._in_flight) >= window:
            return None
        item = self._waiting.popleft()
        self._waiting_bytes -= self._size(item)
        return item

    def sent(self, packet_id: int, item: T) -> None:
        """Note that `item` is in flight with this packet identifier."""
        self._in_flight[packet_id] = item

    def acknowledged(self, packet_id: int) -> T | None:
        """Remove and return the publication with this packet identifier, None if there is none."""
        return self._in_flight.pop(packet_id, None)

    def withdraw(self, item: T) -> None:
        """Remove a publication, so that it is not sent, or not resent."""
        if item in self._waiting:
            self._waiting.remove(item)
            self._waiting_bytes -= self._size(item)
        for packet_id in [number for number, each in self._in_flight.items() if each is item]:
            del self._in_flight[packet_id]

    def connection_lost(self) -> None:
        """Put publications in flight back at the front, in their order: they may not have arrived."""
        self._waiting.extendleft(reversed(self._in_flight.values()))
        self._waiting_bytes += sum(map(self._size, self._in_flight.values()))
        self._in_flight.clear()
