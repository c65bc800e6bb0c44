"""Limits: how many connections this process may hold, and how fast one client may send."""

import resource

from broker.errors import CannotStart
from broker.log import Log

log = Log(__name__)

RESERVED_FILES = 190
"""Open files for everything else: the broker, libraries, listening sockets, connections that are being refused."""
MOST_CONNECTIONS = 200_000

FRAMES_PER_S = 200.0
BURST_FRAMES = 1_000.0
BYTES_PER_FRAME = 50_000
"""This many bytes count as one frame more."""


def room_for_connections() -> int:
    """Raise the limit of open files as far as this user may, and return how many connections fit; both are logged.

    Raises:
        CannotStart: none do.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + RESERVED_FILES
    limit = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if limit > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    limit = max(limit, soft) if soft != resource.RLIM_INFINITY else wanted
    room = min(limit - RESERVED_FILES, MOST_CONNECTIONS)
    if room < 2:
        raise CannotStart(
            f"this process may have {limit} open files, and needs {RESERVED_FILES} for itself: raise the limit (ulimit -n)"
        )
    log.info(
        "connections-limited",
        "room for %(room)d connections: this process may have %(open_files)d open files (ulimit -Hn raises that)",
        room=room,
        open_files=limit,
    )
    return room


class RateLimit:
    """A token bucket for one client. A client that sends too fast is not read from for a while, and loses nothing."""

    __slots__ = ("_at_s", "_left")

    def __init__(self, now_s: float) -> None:
        self._left, self._at_s = BURST_FRAMES, now_s

    def pause_s(self, frames: int, size: int, now_s: float) -> float:
        """Count `frames` frames of `size` bytes together; return for how many seconds to stop reading, mostly 0."""
        self._left = min(BURST_FRAMES, self._left + (now_s - self._at_s) * FRAMES_PER_S)
        self._at_s = now_s
        self._left -= frames + size / BYTES_PER_FRAME
        return max(0.0, -self._left / FRAMES_PER_S)
