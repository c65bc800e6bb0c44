"""HTTP/1.1 on one connection: uvicorn's, with limits, and with errors in JSON where uvicorn itself refuses a request.

What is taken over from uvicorn 0.54: `send_400_response` (plain text there), and around its parser callbacks the limits: the
size of what is no body, one deadline for a request to come whole, the requests that wait. An Upgrade is taken out of the
request before uvicorn sees it, because its parser would take the body for the other protocol.
`tests/adapters/http/test_server.py` fails if a release moves them.
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

REQUEST_TIMEOUT_S = 10.0
"""From its first byte to its last one."""
LARGEST_HEAD_BYTES = 32 * 1024
MOST_CONNECTIONS = 2_000
MOST_DISCARDED_BYTES = 64 * 1024 * 1024
"""Of a body that was answered before its end, so that a client that writes first and reads then gets the answer: more than
any body that is taken (`adapters.energy_api`: 32 MiB)."""
MOST_WAITING = 16
"""Requests behind the one that is answered; the last of them closes the connection if there are more."""
READ_TIMEOUT_S = 20.0
"""For a client to read anything at all of an answer that waits for it."""
_CHUNK_BYTES = 24
"""Of a chunk, beside its data: its size, two line ends, and little of an extension."""

_NO_HTTP = HttpError(400, "this is no HTTP/1.1 request that could be read")
_HEAD_TOO_LARGE = HttpError(431, f"request line and headers are too large: at most {LARGEST_HEAD_BYTES} bytes are taken")
_TOO_SLOW = HttpError(408, f"the request did not come within {REQUEST_TIMEOUT_S:g} s")
_TOO_MANY_WAITING = HttpError(400, f"more than {MOST_WAITING} requests wait on this connection")
_TOO_MANY = Unavailable(f"{MOST_CONNECTIONS} connections are open already")


class Part(Enum):
    """What a connection expects next."""

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
        self._part = Part.REQUEST
        self._overhead_bytes = self._discarded_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._refusal = _NO_HTTP
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            self._refuse(_TOO_MANY)
        else:
            self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._clear_deadline()
        self._clear_unread()
        super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Keep open for the answer what only the client's side closed, as `nc -N` does: it is the last one."""
        if not self._answering:
            return None
        self.cycle.keep_alive = False
        return True

    def pause_writing(self) -> None:
        """Give the client time to read."""
        super().pause_writing()
        self._clear_unread()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        """Go on: it reads."""
        self._clear_unread()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Take bytes; those that are no body count against the limits of the request that is not there whole yet."""
        if self.transport.is_closing() or self._refused:
            return
        self._overhead_bytes += len(data)
        self._feed(data)
        if self.transport.is_closing() or self._refused:
            self._clear_deadline()
        elif self._overhead_bytes > LARGEST_HEAD_BYTES:
            self._refuse(_HEAD_TOO_LARGE)
        elif self._part is Part.REQUEST and self.cycle is not None and not self.cycle.response_complete:
            self._clear_deadline()
        else:
            self._set_deadline()

    def _feed(self, data: bytes) -> None:
        """Have bytes parsed. Past the head of a request with an Upgrade, a new parser starts, on that head without it.

        A parser that saw the Upgrade stops there, and leaves out the body (RFC 9110 section 7.8 allows to ignore an Upgrade).
        """
        self._unset_keepalive_if_required()
        pieces = [memoryview(data)]
        while pieces:
            try:
                self.parser.feed_data(pieces[0])
            except httptools.HttpParserUpgrade as upgrade:
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
        """Begin a request."""
        self._part, self._discarded_bytes = Part.HEAD, 0
        self._clear_deadline()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. One that comes after the body is dropped (RFC 9110 section 6.5.1)."""
        if self._part is Part.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End its head.

        Raises:
            HttpError: it is too large, or one too many; the parser gives up and `send_400_response` is next.
        """
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > LARGEST_HEAD_BYTES:
            self._refusal = _HEAD_TOO_LARGE
            raise _HEAD_TOO_LARGE
        if self.parser.get_method() == b"CONNECT":
            raise _NO_HTTP
        if self.parser.should_upgrade():
            return  # it begins once more, see `_feed`
        if len(self.pipeline) >= MOST_WAITING:
            self._refusal = _TOO_MANY_WAITING
            raise _TOO_MANY_WAITING
        super().on_headers_complete()
        self._part = Part.BODY

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body, or drop it where the answer did not need it."""
        self._overhead_bytes = max(0, self._overhead_bytes - len(body) - _CHUNK_BYTES)
        if self.cycle.response_complete:
            self._discarded_bytes += len(body)
            if self._discarded_bytes > MOST_DISCARDED_BYTES:
                self.transport.close()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        if self.parser.should_upgrade():
            return
        self._part, self._overhead_bytes = Part.REQUEST, 0
        self._clear_deadline()
        super().on_message_complete()

    def send_400_response(self, _msg: str) -> None:
        """Refuse what the parser could not take."""
        self._refuse(self._refusal)

    def _refuse(self, error: HttpError) -> None:
        """Answer and close. Where an earlier request is not answered yet, its answer is the last one."""
        self._refused = True
        self._clear_deadline()
        if self._answering:
            self.cycle.keep_alive = False
            return
        if not self.pipeline and (self._part is not Part.BODY or not self.cycle.response_started):
            self.transport.write(_plain(error, self.server_state.default_headers))
        self.transport.close()

    @property
    def _answering(self) -> bool:
        """The last request is there whole, and not answered yet."""
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
        """Leave a client that read nothing since."""
        if self.transport.get_write_buffer_size() < waiting_bytes:
            self._wait_for_reader()
        else:
            self.transport.abort()

    def _on_late(self) -> None:
        """Nothing at all, or the rest of a body that is answered already: there is nobody to tell."""
        self._deadline = None
        if self._part is Part.REQUEST:
            self.transport.close()
        else:
            self._refuse(_TOO_SLOW)


def _plain(error: HttpError, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return an answer as it goes over the wire (RFC 9112 section 4)."""
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
