"""Websocket server for the clients of one kind, in the runtime's event loop, without a task or thread per connection."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from http import HTTPStatus

from websockets.http11 import Request

from adapters.chargers.clients import Clients
from adapters.chargers.keepalive import Keepalive
from adapters.chargers.limits import RateLimit
from adapters.chargers.websocket import LARGEST_MESSAGE_BYTES, PING, Refusal, WebSocket
from adapters.listening import BACKLOG, Listening, Sockets, listen
from adapters.outside.acceptor import MOST_UNAUTHENTICATED, AcceptedClient, Acceptor
from adapters.outside.authentication import Refused, may_be

READ_BYTES = 16 * 1024
"""Read at a time, so that no client holds the loop for long."""
ACCEPTED_AT_ONCE = 32
SPARE_CONNECTIONS = 20
"""Accepted beyond `room`, to read their requests and answer 503."""
RECEIVE_BUFFER_BYTES = 32 * 1024
"""Unread bytes of a dead client count as activity when they are read: keep them few."""
CLOSE_TIMEOUT_S = 2.0
MOST_UNFINISHED_BYTES = 16 * LARGEST_MESSAGE_BYTES
"""Of incomplete messages, in all connections together."""
USUAL_UNFINISHED_BYTES = 64 * 1024
CHECK_S = 1.0
"""How often the accounts of connected clients from other machines are checked."""
GOING_AWAY, POLICY_VIOLATION = 1001, 1008


class Server:
    """Serves clients of one kind on every address of `listening`.

    Args:
        room: connections at most; more are refused with 503. Where other machines may connect, those that have not logged in
            may take a quarter of it.
    """

    def __init__(self, clients: Clients, listening: Listening, room: int) -> None:
        self.clients, self._listening, self._room = clients, listening, room
        self.access = listening.access
        self.keepalive: Keepalive[ServerConnection] = Keepalive()
        self.buffer = memoryview(bytearray(READ_BYTES))
        """Shared: the bytes are copied out of it before the next read."""
        self.unfinished_bytes = 0
        self._refused, self._last_refusal = 0, ""
        self.admitted = 0
        """Number of open connections whose clients were admitted."""
        outside = listening.outside
        self.authenticator = listening.authenticator
        unauthenticated = min(MOST_UNAUTHENTICATED, room // 4)
        self._acceptor: Acceptor | None = None
        if outside:
            self._room -= unauthenticated
            self._acceptor = Acceptor(lambda remote: ServerConnection(self, remote), outside.context, room, unauthenticated)
        self._sockets = Sockets([], [])
        self._check_at_s, self._accounts_version = 0.0, self.authenticator.version() if self.authenticator else ()
        self._servers: list[asyncio.Server] = []
        self._connections: set[ServerConnection] = set()

    def listen(self) -> None:
        """Accept connections into the backlog; they wait until `start`.

        Raises:
            CannotStart: the port cannot be listened on; the text names the cause and the fix.
        """
        self._sockets = listen(self._listening)
        for each in (*self._sockets.inside, *self._sockets.outside):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)  # accepted ones inherit it

    async def start(self) -> None:
        """Serve the waiting clients and all later ones."""
        for each in self._sockets.inside:
            await self._accept(each, lambda: ServerConnection(self))
        for each in self._sockets.outside:
            assert self._acceptor is not None
            await self._accept(each, self._acceptor.protocol)

    async def _accept(self, listening: socket.socket, protocol: Callable[[], asyncio.BaseProtocol]) -> None:
        server = await asyncio.get_running_loop().create_server(protocol, sock=listening, backlog=ACCEPTED_AT_ONCE)
        listening.listen(BACKLOG)  # asyncio takes one number for both; accept few at a time and let many wait
        self._servers.append(server)

    async def stop(self) -> None:
        """Stop accepting and close every connection."""
        for server in self._servers:
            server.close()
        for each in (*self._sockets.inside, *self._sockets.outside):
            each.close()
        if self._acceptor is not None:
            self._acceptor.close()
        for connection in list(self._connections):
            connection.drop("the adapter is being stopped", GOING_AWAY)
        if self._connections:
            await asyncio.sleep(0.1)
        for connection in list(self._connections):
            connection.abort("the adapter is being stopped")
        for _ in range(2):
            await asyncio.sleep(0)  # `connection_lost` is called in the next turn of the loop, with TLS in the one after it

    def sweep(self, now_s: float) -> None:
        """Ping silent clients and drop those that do not answer; call it several times a second."""
        for connection in self.keepalive.to_ping(now_s):
            connection.ping()
        for connection in self.keepalive.unanswered(now_s):
            connection.abort("does not answer to pings")
        for connection in self.keepalive.overdue_handshakes(now_s):
            connection.abort("the handshake takes too long")
        if self.authenticator is not None and now_s >= self._check_at_s:
            self._check_at_s = now_s + CHECK_S
            if (version := self.authenticator.version()) != self._accounts_version:
                self._accounts_version = version
                for connection in [each for each in self._connections if not each.may_stay]:
                    connection.drop("its account was removed or changed")

    def add(self, connection: "ServerConnection", now_s: float) -> None:
        """Take a connection; where there are too many, drop the one whose handshake has taken longest."""
        too_many = len(self._connections) >= self._room + SPARE_CONNECTIONS
        if too_many and (slowest := self.keepalive.slowest_handshake()) is not None:
            self.remove(slowest)
            slowest.abort("the handshake takes too long")
        self._connections.add(connection)
        self.keepalive.add(connection, now_s)

    @property
    def full(self) -> bool:
        """Whether `room` clients are admitted."""
        return self.admitted >= self._room

    def remove(self, connection: "ServerConnection") -> None:
        """Remove a connection."""
        self._connections.discard(connection)
        self.keepalive.remove(connection)

    def count_refused(self, why: str) -> None:
        """Count a client that was not admitted."""
        self._refused += 1
        self._last_refusal = why

    def take_refused(self) -> tuple[int, str]:
        """Return how many clients were refused since the last call, and why the last one was."""
        refused, self._refused = self._refused, 0
        return refused, self._last_refusal


class ServerConnection(asyncio.BufferedProtocol):
    """One TCP connection and the websocket on it."""

    __slots__ = (
        "_client",
        "_rate",
        "_remote",
        "_server",
        "_transport",
        "_unfinished_bytes",
        "_websocket",
        "_why",
        "address",
        "subprotocols",
    )

    def __init__(self, server: Server, remote: AcceptedClient | None = None) -> None:
        self._server, self._remote = server, remote
        self._websocket = WebSocket(self._admit)
        self._client: str | None = None
        """The client's id, from the handshake on."""
        self._unfinished_bytes = 0
        self._why: str | None = None
        self.subprotocols: Sequence[str] | None = None

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on, None where there is none."""
        return self._websocket.subprotocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the new connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        host, port, *_ = transport.get_extra_info("peername") or ("?", 0)
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        now_s = _now_s()
        self._rate = RateLimit(now_s)
        self._server.add(self, now_s)

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Return the buffer to read into."""
        return self._server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take the bytes that were read."""
        websocket, now_s = self._websocket, _now_s()
        was_open, was_accepted, frames = websocket.open, websocket.accepted, websocket.frames
        messages = websocket.receive(bytes(self._server.buffer[:nbytes]))
        self._write()
        if websocket.open or was_open:
            self._server.keepalive.active(self, now_s)
        if websocket.accepted and not was_accepted:
            self._open()  # also if the client has closed in the same instant
        for message in messages:
            if self._client is not None and self._why is None:
                self._server.clients.received(self._client, message)
        self._check_size()
        pause_s = self._rate.pause_s(websocket.frames - frames, nbytes, now_s)
        if pause_s and not self._transport.is_closing():
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(pause_s, self._resume)

    def eof_received(self) -> bool:
        """Close: a websocket cannot be half open."""
        return False

    def pause_writing(self) -> None:
        """Drop the client: it does not read even the little that it is sent."""
        self.abort("does not read what it is sent")

    def connection_lost(self, error: Exception | None) -> None:
        """Remove the connection."""
        self._server.unfinished_bytes -= self._unfinished_bytes
        self._server.remove(self)
        if self._remote is not None:
            self._remote.left()
        if self._client is not None:
            self._server.admitted -= 1
            why = self._why or ("closed by the client" if error is None else f"connection lost ({error})")
            self._server.clients.closed(self._client, self, why)

    def send(self, text: bytes) -> None:
        """Send a text frame."""
        self._websocket.send(text)
        self._write()

    def ping(self) -> None:
        """Send a ping, which the client has to answer."""
        if self._websocket.open:
            self._transport.write(PING)

    def drop(self, reason: str, code: int = POLICY_VIOLATION) -> None:
        """Close with a closing handshake, and after 2 s without its answer."""
        self._why = self._why or reason
        if self._websocket.shaking_hands:
            self._transport.abort()
            return
        self._websocket.close(code, reason)
        self._write()
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._transport.abort)

    def abort(self, reason: str) -> None:
        """Close at once."""
        self._why = self._why or reason
        self._transport.abort()

    def _admit(self, request: Request) -> Refusal | None:
        headers = request.headers
        foreign = self._server.access.refuse_origin(headers.get_all("Origin"), headers.get_all("Host"))
        admitted = Refusal(HTTPStatus.FORBIDDEN, foreign) if foreign else self._identify(request)
        if not isinstance(admitted, Refusal) and self._server.full:
            admitted = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "this server is full now: connect again later")
        if isinstance(admitted, Refusal):
            self._server.count_refused(f"{admitted.text} ({self.address})")
            return admitted
        self._client = admitted
        self.subprotocols = self._server.clients.subprotocols(request.path)
        if self.subprotocols is not None:
            self._websocket.speaks(self.subprotocols)
        self._server.admitted += 1
        if self._remote is not None:
            self._remote.admitted()
        return None

    def _identify(self, request: Request) -> str | Refusal:
        """Return the id that a client may have, or why it has none. Without a login, no client learns which ids there are."""
        remote, authenticator = self._remote, self._server.authenticator
        if remote is None:
            return self._server.clients.admit(request.path)
        assert authenticator is not None, "there are no clients without one"
        account = authenticator.login(remote, request.headers.get_all("Authorization"), _now_s())
        if isinstance(account, Refused):
            return Refusal(account.status, account.text, account.headers)
        client = self._server.clients.admit(request.path)
        if isinstance(client, str) and not may_be(account, client):
            return Refusal(HTTPStatus.FORBIDDEN, f"{account.name} may not connect as {client!r}: it needs that account")
        return client

    @property
    def may_stay(self) -> bool:
        """Whether the account of a client from another machine still holds; True for clients of this machine."""
        remote, authenticator = self._remote, self._server.authenticator
        return self._client is None or remote is None or authenticator is None or authenticator.is_current(remote)

    def _open(self) -> None:
        assert self._client is not None
        self._server.clients.opened(self._client, self)

    def _write(self) -> None:
        data, last = self._websocket.to_write()
        if data:
            self._transport.write(data)
        if last and not self._transport.is_closing():
            self._transport.close()
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._transport.abort)

    def _check_size(self) -> None:
        """Limit the memory for incomplete messages; a message that exceeds it is rejected."""
        server, unfinished = self._server, self._websocket.unfinished_bytes
        server.unfinished_bytes += unfinished - self._unfinished_bytes
        self._unfinished_bytes = unfinished
        if self._why is not None:
            return
        if (too_big := self._websocket.too_big) is not None:
            self._refuse_message(too_big)
        elif server.unfinished_bytes > MOST_UNFINISHED_BYTES and unfinished > USUAL_UNFINISHED_BYTES:
            self._refuse_message(f"no room for a message of more than {unfinished} bytes now")

    def _refuse_message(self, reason: str) -> None:
        if self._client is not None:
            self._server.clients.reject(f"{self._server.clients.kind}/{self._client}", b"", reason)
        self.drop(reason)
        self._transport.close()  # at once: the adapter would read on until the client answers

    def _resume(self) -> None:
        if not self._transport.is_closing():
            self._server.keepalive.active(self, _now_s())  # it was not read from, so it could not answer
            self._transport.resume_reading()


def _now_s() -> float:
    return asyncio.get_running_loop().time()
