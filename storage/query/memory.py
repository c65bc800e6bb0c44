"""The last wall against queries that eat memory: some functions ignore DuckDB's own limit and would get the process killed."""

import ctypes
import resource
import sys
from contextlib import suppress
from pathlib import Path

HEADROOM_BYTES = 4 * 1024**3
RESERVE_BYTES = 128 * 1024**2

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_FROM_RESERVE_BYTES = 4 * 1024**2


def limit_address_space(memory_mb: int) -> None:
    """Let this process grow by the database's own memory and 4 GiB at most: beyond that, the query that asks gets an error."""
    _keep_reserve()
    pages = _pages()
    if not pages:
        return
    limit = pages * resource.getpagesize() + memory_mb * 1024**2 + HEADROOM_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    highest = limit + HEADROOM_BYTES if hard == resource.RLIM_INFINITY else min(limit + HEADROOM_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (min(limit, highest), highest))


def has_room(needed_bytes: int) -> bool:
    """Say whether this process may still grow by so much. Where there is no limit or nobody says, it may.

    glibc keeps the address space of a heap whose free parts lie below something that is used. It will use them again, but
    DuckDB's other allocator cannot: the limit is raised for it by as much, once 4 GiB at most.
    """
    if _left() >= needed_bytes:
        return True
    soft, highest = resource.getrlimit(resource.RLIMIT_AS)
    free = _free_in_heap()
    resource.setrlimit(resource.RLIMIT_AS, (max(soft, min(highest, highest - HEADROOM_BYTES + free)), highest))
    return _left() + free >= needed_bytes


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
    """Have glibc keep address space for Python, whose event loop would fail while a query holds all the rest.

    DuckDB allocates elsewhere. What nobody touches takes no memory. See mallopt(3).
    """
    with suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
        libc.mallopt(_MMAP_THRESHOLD, _FROM_RESERVE_BYTES)
        libc.mallopt(_TRIM_THRESHOLD, RESERVE_BYTES * 5 // 4)
        libc.mallopt(_TOP_PAD, RESERVE_BYTES)
        block = libc.malloc(ctypes.c_size_t(_FROM_RESERVE_BYTES - 4096))
        libc.free(block)
