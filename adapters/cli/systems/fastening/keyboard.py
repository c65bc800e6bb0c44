"""Lines of the operator, looked for without waiting: the bus goes on meanwhile, and Ctrl-C arrives at once."""

import os
import select
import sys
from typing import Protocol, TextIO

_CHUNK = 4096


class Keyboard(Protocol):
    """Where the operator's lines come from."""

    def line(self, timeout_s: float | None = 0.0) -> str | None:
        """Return the next line without its end, None if there is none in time; None as the time waits for ever.

        Raises:
            EOFError: there are no more.
        """
        ...

    def forget(self) -> None:
        """Drop what was typed before it was asked for; what is in a pipe stays."""
        ...


class DescriptorKeyboard:
    """A terminal, a pipe or a file, read straight from its descriptor: nothing of it is left in a buffer of Python's."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pending = b""

    def line(self, timeout_s: float | None = 0.0) -> str | None:
        """Return the next line, None if there is none in time."""
        while b"\n" not in self._pending:
            if not select.select([self._descriptor], [], [], timeout_s)[0]:
                return None
            if not (chunk := self._read()):
                return self._last()
            self._pending += chunk
        line, self._pending = self._pending.split(b"\n", 1)
        return line.decode("utf-8", "replace")

    def forget(self) -> None:
        """Drop what was typed on a terminal."""
        if os.isatty(self._descriptor):
            import termios

            termios.tcflush(self._descriptor, termios.TCIFLUSH)
            self._pending = b""

    def _read(self) -> bytes:
        try:
            return os.read(self._descriptor, _CHUNK)
        except OSError:  # the terminal is gone
            return b""

    def _last(self) -> str:
        rest, self._pending = self._pending, b""
        if not rest:
            raise EOFError
        return rest.decode("utf-8", "replace")


class StreamKeyboard:
    """A stream in memory."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def line(self, timeout_s: float | None = 0.0) -> str | None:  # noqa: ARG002
        """Return the next line."""
        found = self._stream.readline() if self._stream is not None else ""
        if not found:
            raise EOFError
        return found.rstrip("\n")

    def forget(self) -> None:
        """Do nothing: nobody types ahead here."""


def standard_input() -> Keyboard:
    """Return the lines of standard input, which may be closed."""
    try:
        return DescriptorKeyboard(sys.stdin.fileno())
    except (AttributeError, OSError, ValueError):  # None, a stream without a descriptor, a closed one
        return StreamKeyboard(sys.stdin)
