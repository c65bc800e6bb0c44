"""The sockets: websockets of one side, in the runtime's event loop. No task and no thread for any of them."""

import asyncio
import logging
import socket
from http import HTTPStatus

from adapters.chargers.pace import Pace
from adapters.chargers.session import LARGEST_MESSAGE_BYTES, PING, Refusal, Session
from adapters.chargers.side import Side
from adapters.chargers.watch import Watch
from adapters.listening import BACKLOG, Listening, listen

log = logging.getLogger(__name__)

READ_BYTES = 16 * 1024
"""Read at once; so nobody takes the loop for long."""
ACCEPTED_AT_ONCE = 32
MOST_STRANGERS = 20
"""Connections beyond `room`: until their requests are read, which are answered with 503."""
RECEIVE_BUFFER_BYTES = 32 * 1024
"""What a client has sent before it died counts as its last word when it is read: that is not to be much."""
CLOSE_TIMEOUT_S = 2.0
MOST_UNFINISHED_BYTES = 16 * LARGEST_MESSAGE_BYTES
"""Of messages that are not whole yet, in all connections together."""
USUAL_UNFINISHED_BYTES = 64 * 1024
GOING_AWAY, POLICY_VIOLATION = 1001, 1008


class Server:
    """Serves one side on every address of `listening`.

    Args:
        room: how many connections it takes at most; more are refused with 503.
    """

    def __init__(self, side: Side, listening: Listening, room: int) -> None:
        self.side, self._listening, self._room = side, listening, room
        self.watch: Watch[Connection] = Watch()
        self.buffer = memoryview(bytearray(READ_BYTES))
        """Shared: what was read is taken out of it before anybody else reads."""
        self.unfinished_bytes = 0
        self._refused, self._last_refusal = 0, ""
        self.admitted = 0
        """Connections that were let in."""
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._connections: set[Connection] = set()

    def listen(self) -> None:
        """Let clients connect; they wait until `start`.

        Raises:
            CannotStart: the port cannot be listened on; the text says why and what to do.
        """
        self._sockets = listen(self._listening)
        for each in self._sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)  # accepted ones inherit it

    async def start(self) -> None:
        """Serve those who wait and all who come."""
        loop = asyncio.get_running_loop()
        for each in self._sockets:
            self._servers.append(await loop.create_server(lambda: Connection(self), sock=each, backlog=ACCEPTED_AT_ONCE))
            each.listen(BACKLOG)  # asyncio accepts as many at once as it lets wait: few at once, many may wait

    async def stop(self) -> None:
        """Accept no more and close every connection."""
        for server in self._servers:
            server.close()
        for each in self._sockets:
            each.close()
        for connection in list(self._connections):
            connection.drop("the adapter is being stopped", GOING_AWAY)
        if self._connections:
            await asyncio.sleep(0.1)
        for connection in list(self._connections):
            connection.abort("the adapter is being stopped")
        await asyncio.sleep(0)  # they are lost in the next turn of the loop

    def sweep(self, now_s: float) -> None:
        """Ping who is silent and give up who does not answer; to be called several times a second."""
        for connection in self.watch.to_ping(now_s):
            connection.ping()
        for connection in self.watch.to_give_up(now_s):
            connection.abort("does not answer to pings")
        for connection in self.watch.too_slow(now_s):
            connection.abort("the handshake takes too long")

    def came(self, connection: "Connection", now_s: float) -> None:
        """Take a connection; where there are too many, that one goes whose handshake has taken longest."""
        if len(self._connections) >= self._room + MOST_STRANGERS and (slowest := self.watch.oldest_stranger()) is not None:
            self.left(slowest)
            slowest.abort("the handshake takes too long")
        self._connections.add(connection)
        self.watch.came(connection, now_s)

    @property
    def full(self) -> bool:
        """Whether every place is taken by a client that was let in."""
        return self.admitted >= self._room

    def left(self, connection: "Connection") -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        self.watch.left(connection)

    def not_admitted(self, why: str) -> None:
        """Count a client that is not let in."""
        self._refused += 1
        self._last_refusal = why

    def take_refused(self) -> tuple[int, str]:
        """Return how many were not let in since this was asked last, and why the last one."""
        refused, self._refused = self._refused, 0
        return refused, self._last_refusal


class Connection(asyncio.BufferedProtocol):
    """One TCP connection and the websocket on it."""

    __slots__ = ("_client", "_pace", "_server", "_session", "_transport", "_unfinished_bytes", "_why", "address")

    def __init__(self, server: Server) -> None:
        self._server = server
        self._session = Session(self._admit)
        self._client: str | None = None
        """Its id, from the handshake on."""
        self._unfinished_bytes = 0
        self._why: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or refuse where there is no room."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        host, port, *_ = transport.get_extra_info("peername") or ("?", 0)
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        now_s = _now_s()
        self._pace = Pace(now_s)
        self._server.came(self, now_s)

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Return where to read to."""
        return self._server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        session, now_s = self._session, _now_s()
        was_open, was_accepted, frames = session.open, session.accepted, session.frames
        messages = session.receive(bytes(self._server.buffer[:nbytes]))
        self._write()
        if session.open or was_open:
            self._server.watch.heard(self, now_s)
        if session.accepted and not was_accepted:
            self._open()  # also where the client has closed already, in the same instant
        for message in messages:
            if self._client is not None and self._why is None:
                self._server.side.received(self._client, message)
        self._check_size()
        pause_s = self._pace.pause_s(session.frames - frames, nbytes, now_s)
        if pause_s and not self._transport.is_closing():
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(pause_s, self._resume)

    def eof_received(self) -> bool:
        """Close: half a websocket is none."""
        return False

    def pause_writing(self) -> None:
        """Give up: it takes none of the little that it is told."""
        self.abort("does not read what it is sent")

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection."""
        self._server.unfinished_bytes -= self._unfinished_bytes
        self._server.left(self)
        if self._client is not None:
            self._server.admitted -= 1
            why = self._why or ("closed by the client" if error is None else f"connection lost ({error})")
            self._server.side.closed(self._client, self, why)

    def send(self, text: bytes) -> None:
        """Send a text frame."""
        self._session.send(text)
        self._write()

    def ping(self) -> None:
        """Ask for a sign of life."""
        if self._session.open:
            self._transport.write(PING)

    def drop(self, reason: str, code: int = POLICY_VIOLATION) -> None:
        """Close politely, and after 2 s in any case."""
        self._why = self._why or reason
        if self._session.shaking_hands:
            self._transport.abort()
            return
        self._session.close(code, reason)
        self._write()
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._transport.abort)

    def abort(self, reason: str) -> None:
        """Close at once."""
        self._why = self._why or reason
        self._transport.abort()

    def _admit(self, path: str) -> Refusal | None:
        admitted = self._server.side.admit(path)
        if not isinstance(admitted, Refusal) and self._server.full:
            admitted = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "there is no room for one more now: come again later")
        if isinstance(admitted, Refusal):
            self._server.not_admitted(f"{admitted.text} ({self.address})")
            return admitted
        self._client = admitted
        self._server.admitted += 1
        return None

    def _open(self) -> None:
        assert self._client is not None
        self._server.side.opened(self._client, self)

    def _write(self) -> None:
        data, last = self._session.to_write()
        if data:
            self._transport.write(data)
        if last and not self._transport.is_closing():
            self._transport.close()
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._transport.abort)

    def _check_size(self) -> None:
        """Bound what is kept of messages that are not whole yet; what is too much is recorded as refused."""
        server, unfinished = self._server, self._session.unfinished_bytes
        server.unfinished_bytes += unfinished - self._unfinished_bytes
        self._unfinished_bytes = unfinished
        if self._why is not None:
            return
        if (too_big := self._session.too_big) is not None:
            self._give_up(too_big)
        elif server.unfinished_bytes > MOST_UNFINISHED_BYTES and unfinished > USUAL_UNFINISHED_BYTES:
            self._give_up(f"no room for a message of more than {unfinished} bytes now")

    def _give_up(self, reason: str) -> None:
        if self._client is not None:
            self._server.side.reject(f"{self._server.side.kind}/{self._client}", b"", reason)
        self.drop(reason)
        self._transport.close()  # not after its answer: until then it would be read from

    def _resume(self) -> None:
        if not self._transport.is_closing():
            self._server.watch.heard(self, _now_s())  # it could not answer
            self._transport.resume_reading()


def _now_s() -> float:
    return asyncio.get_running_loop().time()
