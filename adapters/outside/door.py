"""Accepts connections beyond this machine: TLS, and limits on clients that have not logged in.

A connection costs next to nothing until its first byte. That byte decides: a TLS handshake begins, or a client that does not
speak TLS is answered so. Until it has logged in, a client has `STRANGER_S`, and where there are too many such clients, the one
that has waited longest is dropped: idle sockets do not keep others out.
"""

import asyncio
import ipaddress
import ssl
from asyncio.sslproto import SSLProtocol
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from adapters.outside.authentication import Guest

STRANGER_S = 10
"""From the connection to the login, the handshake of TLS included."""
MOST_STRANGERS = 500
"""Connections without a login, of an HTTP server; the charger adapter has fewer where it may have few open files."""
ACCEPTED_AT_ONCE = 32
SHUTDOWN_S = 2
_HANDSHAKE = 0x16
"""First byte of a TLS record with a handshake (RFC 8446 section 5.1)."""
_TEXT = b'{"error":"this port speaks TLS beyond this machine: use https, or wss for chargers and widgets"}'
_SPEAKS_TLS = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
    % (len(_TEXT), _TEXT)
)


class Visitor(Guest):
    """A connection whose client a `Door` drops unless it logs in."""

    __slots__ = ("_door", "_timer", "_transport")

    def __init__(self, door: "Door", transport: asyncio.Transport) -> None:
        super().__init__(str((transport.get_extra_info("peername") or ("?",))[0]))
        self._door, self._transport = door, transport
        self._timer = asyncio.get_running_loop().call_later(STRANGER_S, self.drop)

    def admitted(self) -> None:
        """Stop the time: the client has logged in."""
        self._timer.cancel()
        self._door.strangers.pop(self, None)

    @property
    def has_left(self) -> bool:
        """Whether the connection has ended."""
        return self._transport.is_closing()

    def connections_of(self, name: str) -> int:
        """Return the number of connections to the same port on which an account has logged in."""
        logged_in = (each for each in self._door.visitors if each.account is not None and each.account.name == name)
        return sum(not each.has_left for each in logged_in)

    def left(self) -> None:
        """Forget a connection that has ended; its protocol calls this where it can. Harmless when repeated."""
        self.admitted()
        self._door.visitors.discard(self)

    def drop(self) -> None:
        """Close the connection at once."""
        self.left()
        self._transport.abort()


class Door:
    """Makes the protocols of a listening socket beyond this machine.

    Args:
        make: returns the protocol for a connection of a visitor, or for one from this machine (None).
        context: of TLS; None: plain text.
        room: visitors at most.
        strangers: of them, visitors at most that have not logged in.
    """

    def __init__(
        self, make: Callable[[Visitor | None], asyncio.BaseProtocol], context: ssl.SSLContext | None, room: int, strangers: int
    ) -> None:
        self.make, self.context, self._room, self._most_strangers = make, context, room, strangers
        self.strangers: OrderedDict[Visitor, None] = OrderedDict()
        self.visitors: set[Visitor] = set()

    def protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol for a connection that was accepted."""
        return _Arrival(self)

    def take(self, transport: asyncio.Transport) -> Visitor:
        """Take a visitor; where there are too many, drop the stranger that has waited longest, which may be this one."""
        visitor = Visitor(self, transport)
        self.strangers[visitor] = None
        self.visitors.add(visitor)
        if len(self.visitors) > self._room:
            self.visitors -= {each for each in self.visitors if each.has_left}
        if len(self.strangers) > self._most_strangers or len(self.visitors) > self._room:
            next(iter(self.strangers)).drop()
        return visitor

    def close(self) -> None:
        """Drop those who have not logged in."""
        for each in list(self.strangers):
            each.drop()


class _Arrival(asyncio.Protocol):
    """A connection until its first byte."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._visitor: Visitor | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if _is_loopback(transport):
            _hand_over(transport, self._door.make(None))
            return
        self._visitor = self._door.take(transport)
        if self._door.context is None and not transport.is_closing():
            _hand_over(transport, self._door.make(self._visitor))

    def data_received(self, data: bytes) -> None:
        assert self._visitor is not None
        assert self._door.context is not None, "plain text is handed over at once"
        if data[0] != _HANDSHAKE:
            self._transport.write(_SPEAKS_TLS)
            self._transport.close()
            return
        protocol = self._door.make(self._visitor)
        _hand_over(self._transport, _Tls(self._visitor, protocol, self._door.context), data)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._visitor is not None:
            self._visitor.left()


class _Tls(SSLProtocol):
    """TLS on one connection: asyncio's own, with the smallest buffer that holds a record instead of 256 KiB."""

    max_size = 16 * 1024

    def __init__(self, visitor: Visitor, protocol: asyncio.BaseProtocol, context: ssl.SSLContext) -> None:
        super().__init__(
            asyncio.get_running_loop(),
            protocol,
            context,
            waiter=None,  # type: ignore[arg-type]
            server_side=True,
            ssl_handshake_timeout=STRANGER_S,
            ssl_shutdown_timeout=SHUTDOWN_S,
        )
        self._visitor = visitor

    def connection_lost(self, error: BaseException | None) -> None:
        self._visitor.left()
        super().connection_lost(error)


def _hand_over(transport: asyncio.Transport, protocol: asyncio.BaseProtocol, data: bytes = b"") -> None:
    """Let `protocol` go on with a connection, after the bytes that were already read."""
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    if data and isinstance(protocol, asyncio.BufferedProtocol):
        unread = memoryview(data)
        while unread and not transport.is_closing():
            buffer = memoryview(protocol.get_buffer(len(unread)))
            read, unread = unread[: len(buffer)], unread[len(buffer) :]
            buffer[: len(read)] = read
            protocol.buffer_updated(len(read))


def _is_loopback(transport: asyncio.Transport) -> bool:
    """Return whether a connection came to a loopback address, and so from this machine."""
    name: Any = transport.get_extra_info("sockname")
    return bool(name) and ipaddress.ip_address(name[0].partition("%")[0]).is_loopback
