"""Until when something is waited for; looking costs what has expired, not what is waited for."""

import heapq

MOST_AT_ONCE = 1_000
"""Where all chargers of an adapter are gone at once, the others are not to wait until all that was said of it."""


class Deadlines:
    """A deadline for each of some chargers, in plant seconds."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[float, float]] = {}
        self._heap: list[tuple[float, str]] = []
        """Also those that were cancelled since; they are told from the others when their time has come."""

    def wait(self, charger: str, since_s: float, patience_s: float) -> None:
        """Wait for a charger, unless it is waited for already and not so long."""
        deadline_s = since_s + patience_s
        if charger not in self._waiting or deadline_s < self._waiting[charger][0]:
            self._waiting[charger] = deadline_s, since_s
            heapq.heappush(self._heap, (deadline_s, charger))

    def cancel(self, charger: str) -> None:
        """Wait no longer."""
        self._waiting.pop(charger, None)

    def expired(self, now_s: float) -> list[tuple[str, float]]:
        """Take out the chargers that were waited for in vain, a thousand at most, each with the time since when."""
        found: list[tuple[str, float]] = []
        while self._heap and self._heap[0][0] <= now_s and len(found) < MOST_AT_ONCE:
            deadline_s, charger = heapq.heappop(self._heap)
            waiting = self._waiting.get(charger)
            if waiting is not None and waiting[0] == deadline_s:
                del self._waiting[charger]
                found.append((charger, waiting[1]))
        return found
