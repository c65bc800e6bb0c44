"""Ctrl-C while Python imports."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130


@contextmanager
def importing() -> Iterator[None]:
    """Let Ctrl-C end the process at once and without a word, for the time of a `with` block that only imports.

    An exception out of an import would be shown, and inside msgspec or DuckDB it crashes Python. Who ignores Ctrl-C still does.
    """
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
