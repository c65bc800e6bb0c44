"""HTTP/1.1 on one connection: uvicorn's, with limits, and with errors in JSON where uvicorn itself refuses a request.

What is taken over from uvicorn 0.54: `send_400_response` (plain text there), and around its parser callbacks the size of the
head and one deadline for a request to come whole. `tests/adapters/http/test_server.py` fails if a release moves them.
"""

import asyncio
from enum import Enum
from http import HTTPStatus
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from adapters.http.errors import HttpError, Unavailable, error_body

REQUEST_TIMEOUT_S = 10.0
"""From its first byte to its last one."""
LARGEST_HEAD_BYTES = 32 * 1024
MOST_CONNECTIONS = 2_000
MOST_DISCARDED_BYTES = 8 * 1024 * 1024
"""Of a body that was answered before its end, so that a client that writes first and reads then gets the answer."""

_NO_HTTP = HttpError(400, "this is no HTTP/1.1 request that could be read")
_HEAD_TOO_LARGE = HttpError(431, f"request line and headers are too large: at most {LARGEST_HEAD_BYTES} bytes are taken")
_TOO_SLOW = HttpError(408, f"the request did not come within {REQUEST_TIMEOUT_S:g} s")
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
        self._head_bytes = self._discarded_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._refusal = _NO_HTTP

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
        super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Keep open for the answer what only the client's side closed, as `nc -N` does: it is the last one."""
        if not self._answering:
            return None
        self.cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        """Take bytes; those of a request that is not there yet count against its limits."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.transport.is_closing() or self._part is Part.REQUEST:
            self._clear_deadline()
            return
        self._set_deadline()
        if self._part is Part.HEAD:
            self._head_bytes += len(data)
            if self._head_bytes > LARGEST_HEAD_BYTES:
                self._refuse(_HEAD_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._part, self._head_bytes, self._discarded_bytes = Part.HEAD, 0, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """End its head.

        Raises:
            HttpError: it is too large; the parser gives up and `send_400_response` is next.
        """
        self._part = Part.BODY
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > LARGEST_HEAD_BYTES:
            self._refusal = _HEAD_TOO_LARGE
            raise _HEAD_TOO_LARGE
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body, or drop it where the answer did not need it."""
        if self.cycle.response_complete:
            self._discarded_bytes += len(body)
            if self._discarded_bytes > MOST_DISCARDED_BYTES:
                self.transport.close()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._part = Part.REQUEST
        super().on_message_complete()

    def send_400_response(self, _msg: str) -> None:
        """Refuse what the parser could not take."""
        self._refuse(self._refusal)

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: the request is answered as if it had asked for no other protocol (RFC 9110 section 7.8)."""

    def _refuse(self, error: HttpError) -> None:
        """Answer and close. Where an earlier request is not answered yet, its answer is the last one."""
        if self._answering:
            self.cycle.keep_alive = False
            return
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

    def _on_late(self) -> None:
        """Nothing at all, or the rest of a body that is answered already: there is nobody to tell."""
        self._deadline = None
        if self._part is Part.HEAD or (self._part is Part.BODY and not self.cycle.response_complete):
            self._refuse(_TOO_SLOW)
        else:
            self.transport.close()


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
