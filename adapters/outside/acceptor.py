"""Accepts connections beyond this machine: TLS, and limits on clients that have not logged in.

A connection costs next to nothing until its first byte. That byte decides: a TLS handshake begins, or a client that does not
speak TLS is answered so. A client has `LOGIN_WITHIN_S` to log in, and where there are too many clients without a login,
the one that has waited longest is dropped: idle sockets do not keep others out.
"""

import asyncio
import ipaddress
import ssl
from asyncio.sslproto import SSLProtocol
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from adapters.outside.authentication import RemoteClient

LOGIN_WITHIN_S = 10
"""From the connection to the login, the handshake of TLS included."""
MOST_UNAUTHENTICATED = 500
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


class AcceptedClient(RemoteClient):
    """A connection whose client an `Acceptor` drops unless it logs in."""

    __slots__ = ("_acceptor", "_timer", "_transport")

    def __init__(self, acceptor: "Acceptor", transport: asyncio.Transport) -> None:
        super().__init__(str((transport.get_extra_info("peername") or ("?",))[0]))
        self._acceptor, self._transport = acceptor, transport
        self._timer = asyncio.get_running_loop().call_later(LOGIN_WITHIN_S, self.drop)

    def admitted(self) -> None:
        """Stop the timer: the client has logged in."""
        self._timer.cancel()
        self._acceptor.unauthenticated.pop(self, None)

    @property
    def has_left(self) -> bool:
        """Whether the connection has ended."""
        return self._transport.is_closing()

    def connections_of(self, name: str) -> int:
        """Return the number of connections to the same port on which an account has logged in."""
        logged_in = (each for each in self._acceptor.clients if each.account is not None and each.account.name == name)
        return sum(not each.has_left for each in logged_in)

    def left(self) -> None:
        """Forget a connection that has ended; its protocol calls this where it can. Harmless when repeated."""
        self.admitted()
        self._acceptor.clients.discard(self)

    def drop(self) -> None:
        """Close the connection at once."""
        self.left()
        self._transport.abort()


class Acceptor:
    """Makes the protocols of a listening socket beyond this machine.

    Args:
        make: returns the protocol for a connection of a remote client, or for one from this machine (None).
        context: of TLS; None: plain text.
        room: most clients.
        unauthenticated: most of them that have not logged in.
    """

    def __init__(
        self,
        make: Callable[[AcceptedClient | None], asyncio.BaseProtocol],
        context: ssl.SSLContext | None,
        room: int,
        unauthenticated: int,
    ) -> None:
        self.make, self.context, self._room, self._most_unauthenticated = make, context, room, unauthenticated
        self.unauthenticated: OrderedDict[AcceptedClient, None] = OrderedDict()
        self.clients: set[AcceptedClient] = set()

    def protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol for a connection that was accepted."""
        return _Arrival(self)

    def take(self, transport: asyncio.Transport) -> AcceptedClient:
        """Take a client; where there are too many, drop the one that has waited longest for its login, maybe this one."""
        remote = AcceptedClient(self, transport)
        self.unauthenticated[remote] = None
        self.clients.add(remote)
        if len(self.clients) > self._room:
            self.clients -= {each for each in self.clients if each.has_left}
        if len(self.unauthenticated) > self._most_unauthenticated or len(self.clients) > self._room:
            next(iter(self.unauthenticated)).drop()
        return remote

    def close(self) -> None:
        """Drop the clients that have not logged in."""
        for each in list(self.unauthenticated):
            each.drop()


class _Arrival(asyncio.Protocol):
    """A connection until its first byte."""

    def __init__(self, acceptor: Acceptor) -> None:
        self._acceptor = acceptor
        self._remote: AcceptedClient | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if _is_loopback(transport):
            _hand_over(transport, self._acceptor.make(None))
            return
        self._remote = self._acceptor.take(transport)
        if self._acceptor.context is None and not transport.is_closing():
            _hand_over(transport, self._acceptor.make(self._remote))

    def data_received(self, data: bytes) -> None:
        assert self._remote is not None
        assert self._acceptor.context is not None, "plain text is handed over at once"
        if data[0] != _HANDSHAKE:
            self._transport.write(_SPEAKS_TLS)
            self._transport.close()
            return
        protocol = self._acceptor.make(self._remote)
        _hand_over(self._transport, _Tls(self._remote, protocol, self._acceptor.context), data)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._remote is not None:
            self._remote.left()


class _Tls(SSLProtocol):
    """TLS on one connection: asyncio's own, with the smallest buffer that holds a record instead of 256 KiB."""

    max_size = 16 * 1024

    def __init__(self, remote: AcceptedClient, protocol: asyncio.BaseProtocol, context: ssl.SSLContext) -> None:
        super().__init__(
            asyncio.get_running_loop(),
            protocol,
            context,
            waiter=None,  # type: ignore[arg-type]
            server_side=True,
            ssl_handshake_timeout=LOGIN_WITHIN_S,
            ssl_shutdown_timeout=SHUTDOWN_S,
        )
        self._remote = remote

    def connection_lost(self, error: BaseException | None) -> None:
        self._remote.left()
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
