"""Interrupting what takes too long, from one thread that exists before memory is short: a new one could not be started then."""

import atexit
import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import duckdb

log = logging.getLogger(__name__)


@dataclass(order=True, slots=True)
class Deadline:
    """A moment, in seconds of the monotonic clock, and what happens then unless it is cancelled before."""

    at_s: float
    number: int
    ring: Callable[[], None] | None = field(compare=False)

    def cancel(self) -> None:
        """Let it pass."""
        self.ring = None


def _ring(ring: Callable[[], None]) -> None:
    """This thread must outlive whatever happens: without it no query has an end."""
    try:
        ring()
    except duckdb.Error:
        pass  # what should be interrupted has just ended
    except Exception:
        log.exception("a query was not interrupted")


class Deadlines:
    """The thread that waits for all of them."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._heap: list[Deadline] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._over = False

    def add(self, after_s: float, ring: Callable[[], None]) -> Deadline:
        """Have something done after a while, in another thread; a failure of DuckDB in it is of no interest."""
        deadline = Deadline(time.monotonic() + after_s, next(self._numbers), ring)
        with self._changed:
            heapq.heappush(self._heap, deadline)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="deadlines", daemon=True)
                self._thread.start()
                atexit.register(self._end)
            self._changed.notify()
        return deadline

    def _watch(self) -> None:
        while (deadline := self._next()) is not None:
            if (ring := deadline.ring) is not None:
                _ring(ring)
            del deadline, ring  # or a connection would stay until the next one

    def _next(self) -> Deadline | None:
        with self._changed:
            while not self._over and (not self._heap or self._heap[0].at_s > time.monotonic()):
                self._changed.wait(self._heap[0].at_s - time.monotonic() if self._heap else None)
            return None if self._over else heapq.heappop(self._heap)

    def _end(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify()
