"""One websocket as a server sees it (RFC 6455), without a socket: bytes in, whole messages and bytes out.

The library `websockets` parses the frames. This module adds two things: the head of the handshake is read as a whole, so that
frames sent in the same instant are handled after the answer to it; and fragmented messages are assembled.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import CONNECTING, OPEN
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

LARGEST_HEAD_BYTES = 16 * 1024
LARGEST_MESSAGE_BYTES = 8 * 1024 * 1024
"""A larger message ends its connection: a message is held in memory as a whole."""

PING = Frame(Opcode.PING, b"").serialize(mask=False)

_END_OF_HEAD = b"\r\n\r\n"
_quiet = logging.getLogger(f"{__name__}.library")
_quiet.setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A whole message from the client; text is not checked, so it may not be UTF-8."""

    payload: bytes
    text: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to a client that is not admitted: an HTTP status, a line for people, and further headers."""

    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)


class WebSocket:
    """A websocket, from the first byte of its handshake on.

    Args:
        admit: takes the request and returns a refusal, None where the client is admitted.
    """

    __slots__ = ("_admit", "_assembled", "_head", "_protocol", "_refused", "_text", "frames")

    def __init__(self, admit: Callable[[Request], Refusal | None]) -> None:
        self._protocol = ServerProtocol(select_subprotocol=_first_common, max_size=LARGEST_MESSAGE_BYTES, logger=_quiet)
        self._admit = admit
        self._head: bytearray | None = bytearray()
        """The bytes of the handshake so far; None once it is complete or refused."""
        self._assembled: bytearray | None = None
        self._text = False
        self._refused: bytes | None = None
        self.frames = 0
        """Number of frames read so far, of all kinds."""

    @property
    def open(self) -> bool:
        """Whether the handshake is complete and neither side has begun to close."""
        return self._protocol.state is OPEN

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on, None where there is none."""
        return self._protocol.subprotocol

    def speaks(self, subprotocols: Sequence[str]) -> None:
        """Accept only these subprotocols; call it while the client is being admitted. Without it, any is accepted."""
        self._protocol.available_subprotocols = [Subprotocol(each) for each in subprotocols]

    @property
    def accepted(self) -> bool:
        """Whether the client was admitted, also when the websocket is closed by now."""
        return self._protocol.state is not CONNECTING

    @property
    def shaking_hands(self) -> bool:
        """Whether the handshake is still incomplete."""
        return self._head is not None

    @property
    def unfinished_bytes(self) -> int:
        """Bytes held of a message that is not complete yet."""
        return len(self._protocol.reader.buffer) + len(self._assembled or b"")

    @property
    def too_big(self) -> str | None:
        """The error, where the client has sent too large a message; the websocket ends with it."""
        error = self._protocol.parser_exc
        return str(error) if isinstance(error, PayloadTooBig) else None

    def receive(self, data: bytes) -> list[Incoming]:
        """Take bytes and return the messages that they complete. Never raises: a protocol violation closes the websocket."""
        if self._head is not None:
            self._head += data
            end = self._head.find(_END_OF_HEAD) + len(_END_OF_HEAD)
            if end < len(_END_OF_HEAD) or end > LARGEST_HEAD_BYTES:
                if len(self._head) > LARGEST_HEAD_BYTES:
                    self._refuse(Refusal(431, f"a request has {LARGEST_HEAD_BYTES} bytes at most"))
                return []
            data = bytes(self._head[end:])
            self._shake_hands(bytes(self._head[:end]))
        if not data or self._refused is not None:
            return []
        self._protocol.receive_data(data)
        return self._messages()

    def send(self, text: bytes) -> None:
        """Send a text frame; do nothing once the websocket is closing."""
        if self.open:
            self._protocol.send_text(text)

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; do nothing before the opening one is complete."""
        if self.open:
            self._protocol.send_close(code, reason)

    def to_write(self) -> tuple[bytes, bool]:
        """Return the bytes to write now, and whether to close the connection after them."""
        if self._refused is not None:
            answer, self._refused = self._refused, b""
            return answer, True
        parts = self._protocol.data_to_send()
        return b"".join(parts), b"" in parts

    def _shake_hands(self, head: bytes) -> None:
        self._head = None
        self._protocol.receive_data(head)
        events = self._protocol.events_received()
        if not events or not isinstance(request := events[0], Request):
            self._refuse(Refusal(400, "this is not a websocket handshake: send a GET of HTTP/1.1 without a body"))
            return
        if (refusal := self._admit(request)) is not None:
            self._refuse(refusal)
            return
        self._protocol.send_response(self._protocol.accept(request))

    def _refuse(self, refusal: Refusal) -> None:
        self._head = None
        answer = self._protocol.reject(refusal.status, f"{refusal.text}\n")
        answer.headers.update(refusal.headers)
        self._refused = answer.serialize()

    def _messages(self) -> list[Incoming]:
        messages = []
        for frame in self._protocol.events_received():
            assert isinstance(frame, Frame)
            self.frames += 1
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
                self._assembled, self._text = bytearray(), frame.opcode is Opcode.TEXT
            elif frame.opcode is not Opcode.CONT:
                continue
            assert self._assembled is not None
            self._assembled += frame.data
            if frame.fin:
                messages.append(Incoming(bytes(self._assembled), self._text))
                self._assembled = None
        return messages


def _first_common(protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Accept the first subprotocol that a client offers and the server speaks: many libraries that offer one need an answer."""
    spoken = protocol.available_subprotocols
    return next((each for each in offered if spoken is None or each in spoken), None)
