"""The standard streams of the process, where one of them is closed, full or broken.

A command whose result cannot be written fails with a clear error. What it writes beside the result is optional: a standard
error that cannot be written changes nothing.
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class ResultNotWritten(OSError):
    """Standard output cannot be written; a pipe that its reader has closed is a `BrokenPipeError` instead."""


class _Result(io.FileIO):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise ResultNotWritten(error.errno, error.strerror) from error


class _Optional(io.FileIO):
    def write(self, data: Any, /) -> int:
        with suppress(OSError):
            if (written := super().write(data)) is not None:
                return written
        return memoryview(data).nbytes


@contextmanager
def usable_streams() -> Iterator[None]:
    """Make the standard streams usable for a `with` block; streams that a test has replaced stay.

    Raises:
        ResultNotWritten: standard output cannot be written.
    """
    if sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
        yield
        return
    if sys.stdin is None:
        _occupy(0, os.O_RDONLY)
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    if sys.stdout is None:
        _occupy(1, os.O_RDONLY)  # so that each write fails, and no file or socket that is opened later is written to
    if sys.stderr is None:
        _occupy(2, os.O_WRONLY)
    sys.stdout = _text(_Result(1, "w", closefd=False), sys.stdout)
    sys.stderr = _text(_Optional(2, "w", closefd=False), sys.stderr, errors="backslashreplace")
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            discard_stdout()


def discard_stdout() -> None:
    """Discard what is still buffered for standard output, or Python reports that it cannot be written when it exits."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _occupy(descriptor: int, flags: int) -> None:
    found = os.open(os.devnull, flags)
    if found != descriptor:
        os.dup2(found, descriptor)
        os.close(found)


def _text(raw: io.FileIO, before: io.TextIOWrapper | None, errors: str | None = None) -> io.TextIOWrapper:
    encoding = before.encoding if before is not None else None
    errors = errors or (before.errors if before is not None else None)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=raw.isatty() or raw.fileno() == 2)
