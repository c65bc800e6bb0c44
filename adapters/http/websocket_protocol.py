"""A websocket on one connection: uvicorn's protocol, which a client that reads nothing cannot fill.

Overridden parts of uvicorn 0.54: while the client does not read, nothing more is read from it either (there, each ping is
answered into the buffer); a client that reads nothing for long is disconnected, and so is one that keeps a closed websocket
open. `tests/adapters/http/test_websocket_protocol.py` fails if a release changes these.
"""

import asyncio

from uvicorn._types import ASGIReceiveEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

UNREAD_S = 20.0
"""Time in which a client must read at least some bytes."""
ENDS_WITHIN_S = 5.0
"""From the end of the application to that of the connection."""


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One connection."""

    _unread: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """Stop reading, and start the timeout for the client to read."""
        super().pause_writing()
        self.transport.pause_reading()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        """Read on: the client reads."""
        self._clear_unread()
        super().resume_writing()
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Clear the timer."""
        self._clear_unread()
        super().connection_lost(exc)

    async def run_asgi(self) -> None:
        """Run the application, and end the connection after it."""
        await super().run_asgi()
        self.loop.call_later(ENDS_WITHIN_S, self.transport.abort)

    async def receive(self) -> ASGIReceiveEvent:
        """Return the next event. Taking it starts to read again, but not from a client that does not read."""
        event = await super().receive()
        if not self.writable.is_set() and not self.transport.is_closing():
            self.transport.pause_reading()
        return event

    def _wait_for_reader(self) -> None:
        self._clear_unread()
        self._unread = self.loop.call_later(UNREAD_S, self._on_unread, self.transport.get_write_buffer_size())

    def _clear_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _on_unread(self, waiting_bytes: int) -> None:
        if self.transport.get_write_buffer_size() < waiting_bytes:
            self._wait_for_reader()
        else:
            self.transport.abort()
