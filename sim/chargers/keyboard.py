"""Lines of whoever sits there, or of a pipe, without holding up the websocket."""

import asyncio
import os
import sys

_CHUNK = 4096


class Keyboard:
    """A terminal, a pipe or a file, read straight from its descriptor; None is an input that has ended already."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._pending = b""

    async def line(self) -> str | None:
        """Return the next line without its end; None where there are no more."""
        while b"\n" not in self._pending:
            if not (chunk := await self._read()):
                rest, self._pending = self._pending, b""
                return rest.decode("utf-8", "replace") if rest else None
            self._pending += chunk
        line, self._pending = self._pending.split(b"\n", 1)
        return line.decode("utf-8", "replace")

    async def _read(self) -> bytes:
        if self._descriptor is None:
            return b""
        await _readable(self._descriptor)
        try:
            return os.read(self._descriptor, _CHUNK)
        except OSError:  # the terminal is gone
            return b""


def standard_input() -> Keyboard:
    """Return the lines of standard input, which may be closed."""
    try:
        return Keyboard(sys.stdin.fileno())
    except (AttributeError, OSError, ValueError):  # None, a stream without a descriptor, a closed one
        return Keyboard(None)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except OSError:  # a file, which can always be read
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
