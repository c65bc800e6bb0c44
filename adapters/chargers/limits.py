"""How many connections this process may hold."""

import logging
import resource

from broker.errors import CannotStart

log = logging.getLogger(__name__)

KEPT_FREE = 190
"""Open files for everything else: the broker, libraries, listening sockets, connections that are being refused."""
MOST_CONNECTIONS = 200_000


def room_for_connections() -> int:
    """Raise the limit of open files as far as this user may, and return how many connections fit; both are logged.

    Raises:
        CannotStart: none do.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + KEPT_FREE
    limit = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if limit > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    limit = max(limit, soft) if soft != resource.RLIM_INFINITY else wanted
    room = min(limit - KEPT_FREE, MOST_CONNECTIONS)
    if room < 2:
        raise CannotStart(f"this process may have {limit} open files, and needs {KEPT_FREE} for itself: raise it (ulimit -n)")
    log.info("room for %d connections: this process may have %d open files (ulimit -Hn raises that)", room, limit)
    return room
