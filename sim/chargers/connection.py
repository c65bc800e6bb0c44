"""Connections to the charger adapter: their URLs, opening and closing them, and why one failed or ended."""

import asyncio
import os
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from broker.runtime.settings import Settings, port_number
from sim.chargers.declaration import HOST

OPEN_TIMEOUT_S, CLOSE_TIMEOUT_S = 10.0, 1.0
PING_INTERVAL_S, PING_TIMEOUT_S = 60.0, 30.0
"""Rare, since the adapter checks its connections itself; these pings find an adapter that is frozen."""
LARGEST_FRAME_BYTES = 64 * 1024
HTTP_NOT_FOUND = 404
_ERRNO = re.compile(r"\[Errno (\d+)\]")


@dataclass(frozen=True, slots=True)
class Role:
    """A kind of client. `name` is also, in the plural, its folder in URLs."""

    name: str
    port_variable: str
    """The charger adapter declares it."""
    usual_port: str


CHARGER = Role("charger", "SCAUP_CHARGER_PORT", "3100")
WIDGET = Role("widget", "SCAUP_WIDGET_PORT", "3200")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The server for the clients of one role."""

    role: Role
    host: str
    port: int

    @classmethod
    def of(cls, settings: Settings, role: Role, host: str | None = None, port: int | None = None) -> "Endpoint":
        """Return the endpoint from the settings; `host` and `port` override them.

        Raises:
            InvalidSetting: the port cannot be used.
        """
        return cls(role, host or settings.value(HOST), port or _port(settings, role))

    def url(self, client: str) -> str:
        """Return the URL of one client."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ws://{host}:{self.port}/{self.role.name}s/{quote(client, safe='')}"


def _port(settings: Settings, role: Role) -> int:
    text = settings.environment.get(role.port_variable, "").strip() or role.usual_port
    return port_number(role.port_variable, text)


async def open_connection(url: str) -> ClientConnection:
    """Connect a client.

    Raises:
        OSError: the server does not answer, or not in time.
        WebSocketException: the server refuses, or is no websocket server.
        ValueError: it redirects to something that is no URL.
    """
    return await connect(
        url,
        proxy=None,
        compression=None,
        open_timeout=OPEN_TIMEOUT_S,
        ping_interval=PING_INTERVAL_S,
        ping_timeout=PING_TIMEOUT_S,
        close_timeout=CLOSE_TIMEOUT_S,
        max_size=LARGEST_FRAME_BYTES,
    )


async def close_connection(connection: ClientConnection) -> None:
    """Close a connection, cleanly if the server cooperates: `close` alone waits for ever for a server that does not read."""
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * CLOSE_TIMEOUT_S):
                await connection.close()
    finally:
        connection.transport.abort()


def is_unknown(error: Exception) -> bool:
    """Return whether the adapter does not know the id."""
    return isinstance(error, InvalidStatus) and error.response.status_code == HTTP_NOT_FOUND


def why_unreachable(error: Exception, timeout_s: float) -> str:
    """Return, in words for people, why a connection could not be opened within `timeout_s`."""
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(error, InvalidStatus):
        return f"refused with HTTP {error.response.status_code}"
    if isinstance(error, InvalidHandshake):
        return f"this is no charger adapter ({error})"
    if isinstance(error, socket.gaierror):
        return f"host not found ({error.strerror})"
    # For a host with several addresses, the errors of all are in one text, without `errno`.
    numbers = dict.fromkeys(int(each) for each in _ERRNO.findall(str(error)))
    return ", ".join(os.strerror(each).lower() for each in numbers) or f"cannot connect ({error})"


def refusal_text(error: Exception) -> str:
    """Return the first line of the body of a refusal, printable, after `: `; empty where there is none."""
    body = error.response.body if isinstance(error, InvalidStatus) else None
    return _because(printable((body or b"").decode("utf-8", "replace").strip().partition("\n")[0]))


def why_lost(error: ConnectionClosed) -> str:
    """Return, in words for people, why a connection ended; the codes are those of RFC 6455 section 7.4.1."""
    received, sent = error.rcvd, error.sent
    if received is not None and (sent is None or error.rcvd_then_sent):
        return f"the server closed the connection ({received.code}{_because(printable(received.reason))})"
    if sent is None:
        return "the connection was lost"
    return f"this end closed the connection ({sent.code}{_because(sent.reason)})"


def printable(text: str, longest: int = 200) -> str:
    """Return a text from a server fit for a terminal: short, without control characters."""
    return "".join(each if each.isprintable() else "?" for each in text[:longest])


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
