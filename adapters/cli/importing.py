"""Ctrl-C during imports."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130


@contextmanager
def importing() -> Iterator[None]:
    """Let Ctrl-C end the process at once and silently, in a `with` block that only imports.

    An exception out of an import would be shown, and inside msgspec or DuckDB it crashes Python. An ignored Ctrl-C, and
    another handler of it, stay.
    """
    usual = signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not usual:
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
