"""HTTP/1.1 on one connection: uvicorn's protocol with limits, and with JSON errors where uvicorn itself refuses a request.

Overridden parts of uvicorn 0.54: `send_400_response` (plain text there), and the parser callbacks, which get limits on the size
of everything but the body, the time for a whole request, and the number of pipelined requests. An Upgrade header is removed
before uvicorn sees it, because its parser would take the body for the other protocol. `tests/adapters/http/test_server.py`
fails if a release changes these.
"""

import asyncio
from enum import Enum
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from adapters.http.errors import HttpError, Unavailable, error_body
from adapters.outside.acceptor import AcceptedClient

REQUEST_TIMEOUT_S = 10.0
"""From the first byte of a request to its last."""
LARGEST_HEAD_BYTES = 32 * 1024
MAX_CONNECTIONS = 2_000
MAX_OUTSIDE = 1_000
"""Of them, connections of other machines."""
MAX_DISCARDED_BYTES = 64 * 1024 * 1024
"""Rest of a body that was answered before its end. It is read and discarded, for clients that write everything before they
read; the limit is above the largest body that is accepted (`adapters.energy_api`: 32 MiB)."""
MAX_PIPELINED = 16
"""Requests that may wait behind the one being answered; one more closes the connection."""
READ_TIMEOUT_S = 20.0
"""Time in which a client must read at least some bytes of an answer."""
REMOTE = "remote"
"""Name in a request's state of its `AcceptedClient`; absent: the connection is from this machine."""
_CHUNK_BYTES = 24
"""Size of a chunk without its data: the size line, two line ends, and a short extension."""

_NO_HTTP = HttpError(400, "this is no HTTP/1.1 request that could be read")
_HEAD_TOO_LARGE = HttpError(431, f"request line and headers are too large: at most {LARGEST_HEAD_BYTES} bytes are taken")
_TOO_SLOW = HttpError(408, f"the request did not come within {REQUEST_TIMEOUT_S:g} s")
_TOO_MANY_PIPELINED = HttpError(400, f"more than {MAX_PIPELINED} requests wait on this connection")
_TOO_MANY_CONNECTIONS = Unavailable(f"{MAX_CONNECTIONS} connections are open already")


class Expected(Enum):
    """The part of a request that a connection expects next."""

    REQUEST = "request"
    HEAD = "head"
    BODY = "body"


class JsonProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._remote: AcceptedClient | None = app_state.get(REMOTE)
        self._expected = Expected.REQUEST
        self._overhead_bytes = self._discarded_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._refusal = _NO_HTTP
        self._refused = False
        self._has_left = False
        """Whether the connection is a websocket now, which has no deadline."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse(_TOO_MANY_CONNECTIONS)
        else:
            self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Clear the timers."""
        self._clear_deadline()
        self._clear_unread()
        if self._remote is not None:
            self._remote.left()
        super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Stay open for the last answer if the client closed only its own side, as `nc -N` does."""
        if not self._answering or self.scheme == "https":  # TLS is never half open in asyncio
            return None
        self.cycle.keep_alive = False
        return True

    def pause_writing(self) -> None:
        """Start the timeout for the client to read."""
        super().pause_writing()
        self._clear_unread()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        """Stop the timeout: the client reads."""
        self._clear_unread()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Take bytes; all but those of a body count towards the size limit of the unfinished request."""
        if self.transport.is_closing() or self._refused:
            return
        self._overhead_bytes += len(data)
        self._feed(data)
        if self.transport.is_closing() or self._refused or self._has_left:
            self._clear_deadline()
        elif self._overhead_bytes > LARGEST_HEAD_BYTES:
            self._refuse(_HEAD_TOO_LARGE)
        elif self._expected is Expected.REQUEST and self.cycle is not None and not self.cycle.response_complete:
            self._clear_deadline()
        else:
            self._set_deadline()

    def _feed(self, data: bytes) -> None:
        """Parse bytes. After the head of a request with an Upgrade, a new parser starts, on the same head without the Upgrade.

        A parser that saw the Upgrade stops there and skips the body. RFC 9110 section 7.8 allows a server to ignore an Upgrade.
        """
        self._unset_keepalive_if_required()
        pieces = [memoryview(data)]
        while pieces:
            try:
                self.parser.feed_data(pieces[0])
            except httptools.HttpParserUpgrade as upgrade:
                if self._should_upgrade():
                    self._has_left = True
                    self.handle_websocket_upgrade()
                    return
                pieces = [memoryview(self._head_without_upgrade()), pieces[0][upgrade.args[0] :]]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            except httptools.HttpParserError:
                self.send_400_response("")
                return
            else:
                del pieces[0]

    def _head_without_upgrade(self) -> bytes:
        first = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        kept = [b"%s: %s" % (name, value) for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join([first, *kept, b"", b""])

    def on_message_begin(self) -> None:
        """Start a request."""
        self._expected, self._discarded_bytes = Expected.HEAD, 0
        self._clear_deadline()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. A trailer, which comes after the body, is dropped (RFC 9110 section 6.5.1)."""
        if self._expected is Expected.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Finish the head of a request.

        Raises:
            HttpError: it is too large, or there are too many requests; the parser stops and calls `send_400_response`.
        """
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > LARGEST_HEAD_BYTES:
            self._refusal = _HEAD_TOO_LARGE
            raise _HEAD_TOO_LARGE
        if self.parser.get_method() == b"CONNECT":
            raise _NO_HTTP
        if self.parser.should_upgrade() and not self._should_upgrade():
            return  # the request starts once more, see `_feed`
        if len(self.pipeline) >= MAX_PIPELINED:
            self._refusal = _TOO_MANY_PIPELINED
            raise _TOO_MANY_PIPELINED
        super().on_headers_complete()
        self._expected = Expected.BODY if not self.parser.should_upgrade() else Expected.REQUEST

    def on_body(self, body: bytes) -> None:
        """Take a chunk of the body, or drop it if the request is already answered."""
        self._overhead_bytes = max(0, self._overhead_bytes - len(body) - _CHUNK_BYTES)
        if self.cycle.response_complete:
            self._discarded_bytes += len(body)
            if self._discarded_bytes > MAX_DISCARDED_BYTES:
                self.transport.close()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Finish a request."""
        if self.parser.should_upgrade():
            return
        self._expected, self._overhead_bytes = Expected.REQUEST, 0
        self._clear_deadline()
        super().on_message_complete()

    def send_400_response(self, _msg: str) -> None:
        """Refuse a request that the parser could not read."""
        self._refuse(self._refusal)

    def _refuse(self, error: HttpError) -> None:
        """Answer and close. If an earlier request is not answered yet, close after its answer instead."""
        self._refused = True
        self._clear_deadline()
        if self._answering:
            self.cycle.keep_alive = False
            return
        if not self.pipeline and (self._expected is not Expected.BODY or not self.cycle.response_started):
            self.transport.write(_plain(error, self.server_state.default_headers))
        self.transport.close()

    @property
    def _answering(self) -> bool:
        """Whether the last request has arrived whole and is not answered yet."""
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete and not cycle.more_body

    def _set_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_TIMEOUT_S, self._on_late)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _wait_for_reader(self) -> None:
        self._unread = self.loop.call_later(READ_TIMEOUT_S, self._on_unread, self.transport.get_write_buffer_size())

    def _clear_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _on_unread(self, waiting_bytes: int) -> None:
        """Disconnect a client that has read nothing since."""
        if self.transport.get_write_buffer_size() < waiting_bytes:
            self._wait_for_reader()
        else:
            self.transport.abort()

    def _on_late(self) -> None:
        """Refuse an unfinished request; close without an answer if none has begun, or it is answered already."""
        self._deadline = None
        if self._expected is Expected.REQUEST:
            self.transport.close()
        else:
            self._refuse(_TOO_SLOW)


def _plain(error: HttpError, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return an answer as bytes on the wire (RFC 9112 section 4)."""
    body = error_body(error.text)
    lines = [
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "connection: close",
        *(f"{name}: {value}" for name, value in error.headers.items()),
        *(f"{name.decode()}: {value.decode()}" for name, value in headers),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
