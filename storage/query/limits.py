"""Everything that limits a query.

    time     `Limits.timeout_s`, from the request's arrival: `deadlines` interrupts the query (`sandbox.py`), and after
             `Limits.grace_s` more its client gets an error even if the query cannot be interrupted (`turns.py`)
    rows     `Limits.max_rows` and `Limits.max_bytes` of a result (`sandbox.py`); one row has to fit into a message of
             `MAX_PART_BYTES` (`answers.py`)
    memory   SCAUP_RECORDER_MEMORY_MB, 1024 by default (`storage/declaration.py`), for the database and all its queries;
             `limit_address_space` for functions that ignore it; `has_memory_for_query` before a query starts (`turns.py`);
             `MAX_UNSENT_PARTS` for a client that reads slowly (`storage/recorder.py`)
    turns    `MAX_RUNNING`, `MAX_RUNNING_PER_CLIENT`, `MAX_WAITING`, `MAX_WAITING_PER_CLIENT` (`turns.py`)
    length   `MAX_REQUEST_BYTES` of a request (`answers.py`), `MAX_SQL_CHARACTERS` of its SQL (`sandbox.py`)

The files in parentheses apply the limits; all other numbers, and the mechanisms, are here.
"""

import atexit
import ctypes
import heapq
import itertools
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb

from broker.contract.storage.topics import QueryError, QueryRequest
from broker.log import Log

log = Log(__name__)

MAX_RUNNING = 6
MAX_RUNNING_PER_CLIENT = 2
MAX_WAITING = 100
MAX_WAITING_PER_CLIENT = 25
"""Queries that run, and that wait for their turn: in all, and of one client, which is identified by its response topic."""
MAX_REQUEST_BYTES = 1024 * 1024
MAX_SQL_CHARACTERS = 128 * 1024
"""For much longer statements, DuckDB's planner takes seconds in which it cannot be interrupted, or all of its stack."""
STACK_BYTES = 16 * 1024 * 1024
"""Stack of a query's thread, which would be 2 MiB under `ulimit -s unlimited`: DuckDB plans nested statements recursively."""
MAX_PART_BYTES = 64 * 1024 * 1024
"""Largest message of an answer: that of one large row. It is the broker's `message_size_limit` too (mosquitto.conf)."""
MAX_UNSENT_PARTS = 32
"""Messages of answers that wait to be sent: a slow reader delays its query instead of filling the recorder's memory."""

HEADROOM_BYTES = 4 * 1024**3
"""Address space beyond the database's memory limit."""
MIN_FREE_BYTES = 1024**3
"""Free address space below which no query starts: several at once could get the process aborted."""
RESERVE_BYTES = 128 * 1024**2
"""Address space that only Python may use."""

_MIN_TIMEOUT_S = 0.01
_MENTIONED_WAIT_S = 0.1
_INTERRUPT_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    """Time and size of one query."""

    max_rows: int = 1_000_000
    """Rows of the result; the rest is cut off and the answer marked as truncated."""
    max_bytes: int = 256 * 1024 * 1024
    """Size of the result in memory; a larger one is an error."""
    timeout_s: float = 60.0
    """Seconds from the request's arrival to the last row."""
    waited_s: float = 0.0
    """Seconds of `timeout_s` that passed before the query started, while it waited for its turn."""
    grace_s: float = 2.0
    """Seconds for an interrupted query to end. The command line waits for 5 s beyond the query's own time."""

    def lowered_by(self, request: QueryRequest) -> "Limits":
        """Return the limits for a request, which may ask for less, not for more."""
        max_rows = min(request.max_rows or self.max_rows, self.max_rows)
        return replace(self, max_rows=max_rows, timeout_s=min(request.timeout_s or self.timeout_s, self.timeout_s))

    @property
    def left_s(self) -> float:
        """Seconds that are left for the query when it starts."""
        return max(self.timeout_s - self.waited_s, _MIN_TIMEOUT_S)

    @property
    def timeout_error(self) -> QueryError:
        """The error of a query that was stopped after its time."""
        waiting = f", {self.waited_s:.1f} s of them waiting for its turn" if self.waited_s >= _MENTIONED_WAIT_S else ""
        return limit_error(f"stopped after {self.timeout_s:g} s{waiting}", "make it cheaper, for instance with --since")


def limit_error(message: str, fix: str) -> QueryError:
    """Return the error of a query that exceeds a limit, with what helps."""
    return QueryError("limit", f"{message}: {fix}")


# Time


@dataclass(order=True, slots=True)
class Deadline:
    """An action to run at a time of the monotonic clock, unless it is cancelled before."""

    at_s: float
    number: int
    action: Callable[[], None] | None = field(compare=False)

    def cancel(self) -> None:
        """Drop the action."""
        self.action = None


class Deadlines:
    """One thread that runs the actions of all deadlines. It is started with the first one: later, memory may be too short."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._heap: list[Deadline] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, after_s: float, action: Callable[[], None]) -> Deadline:
        """Run an action after some seconds in the thread of the deadlines; its errors are logged, DuckDB's are ignored."""
        deadline = Deadline(time.monotonic() + after_s, next(self._numbers), action)
        with self._changed:
            heapq.heappush(self._heap, deadline)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
                atexit.register(self._close)
            self._changed.notify()
        return deadline

    def _run(self) -> None:
        while (deadline := self._next()) is not None:
            if (action := deadline.action) is not None:
                _run_safely(action)
            del deadline, action  # otherwise a connection would stay referenced until the next deadline

    def _next(self) -> Deadline | None:
        with self._changed:
            while not self._closed and (not self._heap or self._heap[0].at_s > time.monotonic()):
                self._changed.wait(self._heap[0].at_s - time.monotonic() if self._heap else None)
            return None if self._closed else heapq.heappop(self._heap)

    def _close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()


def _run_safely(action: Callable[[], None]) -> None:
    """Run an action. No error may end the thread: without it no query is ever interrupted."""
    try:
        action()
    except duckdb.Error:
        pass  # the query has just ended
    except Exception:
        log.exception("query-not-interrupted", "a query was not interrupted")


deadlines = Deadlines()
"""The deadlines of all queries of this process."""


class Cancellation:
    """Stops a query from another thread, at whatever point it is: its client does not want the answer any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._interrupt: Callable[[], None] | None = None
        self.requested = False

    def request(self) -> None:
        """Interrupt the query, and again until it has ended: an interrupt between two of its statements has no effect."""
        self.requested = True
        with self._lock:
            if self._interrupt is not None:
                with suppress(duckdb.Error):  # it has just ended
                    self._interrupt()
                deadlines.add(_INTERRUPT_AGAIN_S, self.request)

    @contextmanager
    def of(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """Let `request` call `interrupt` until the block is left."""
        with self._lock:
            self._interrupt = interrupt
        try:
            yield
        finally:
            with self._lock:
                self._interrupt = None


# Memory

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_FROM_RESERVE_BYTES = 4 * 1024**2


def limit_address_space(memory_mb: int) -> None:
    """Limit the growth of this process to the database's memory and `HEADROOM_BYTES`: beyond it, the query gets an error.

    Some functions of DuckDB ignore its own limit and would get the process killed.
    """
    _keep_reserve()
    pages = _pages()
    if not pages:
        return
    limit = pages * resource.getpagesize() + memory_mb * 1024**2 + HEADROOM_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    highest = limit + HEADROOM_BYTES if hard == resource.RLIM_INFINITY else min(limit + HEADROOM_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (min(limit, highest), highest))


def has_memory_for_query() -> bool:
    """Return whether this process may grow by `MIN_FREE_BYTES`; true where there is no limit or it is unknown.

    glibc keeps the address space of a heap whose free parts lie below a used one. It will reuse them, but DuckDB's other
    allocator cannot: the limit is raised for it by as much, by `HEADROOM_BYTES` in all at most.
    """
    if _left() >= MIN_FREE_BYTES:
        return True
    soft, highest = resource.getrlimit(resource.RLIMIT_AS)
    free = _free_in_heap()
    resource.setrlimit(resource.RLIMIT_AS, (max(soft, min(highest, highest - HEADROOM_BYTES + free)), highest))
    return _left() + free >= MIN_FREE_BYTES


def _left() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = _pages()
    return sys.maxsize if soft == resource.RLIM_INFINITY or not pages else soft - pages * resource.getpagesize()


class _HeapInfo(ctypes.Structure):
    """See mallinfo2(3)."""

    _names = ("arena", "ord", "smb", "hb", "hbkhd", "usmb", "fsmb", "uord", "free", "keepcost")
    _fields_ = tuple((name, ctypes.c_size_t) for name in _names)


def _free_in_heap() -> int:
    with suppress(OSError, AttributeError):  # another C library, or a glibc older than 2.33
        mallinfo2 = ctypes.CDLL(None).mallinfo2
        mallinfo2.restype = _HeapInfo
        return int(mallinfo2().free)
    return 0


def _pages() -> int:
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[0]) if statm.exists() else 0


def _keep_reserve() -> None:
    """Have glibc reserve address space for Python, whose event loop would fail while a query holds all the rest.

    DuckDB uses another allocator. Pages that are never touched take no memory. See mallopt(3).
    """
    with suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
        libc.mallopt(_MMAP_THRESHOLD, _FROM_RESERVE_BYTES)
        libc.mallopt(_TRIM_THRESHOLD, RESERVE_BYTES * 5 // 4)
        libc.mallopt(_TOP_PAD, RESERVE_BYTES)
        block = libc.malloc(ctypes.c_size_t(_FROM_RESERVE_BYTES - 4096))
        libc.free(block)
