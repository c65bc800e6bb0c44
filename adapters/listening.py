"""Listening sockets on one or more addresses, with errors that name the port and the fix."""

import contextlib
import errno
import socket
from dataclasses import dataclass, field

from broker.errors import CannotStart
from broker.runtime.web_access import WebAccess

BACKLOG = 2_048


@dataclass(frozen=True, slots=True)
class Listening:
    """The addresses and the port of a server, and how errors name them."""

    addresses: tuple[str, ...]
    port: int
    variable: str
    """Environment variable that sets the port."""
    what: str = "HTTP"
    """Purpose of the port, as errors name it."""
    shared: bool = False
    """Other processes of this user that set it too may listen on the same port; the system spreads the connections."""
    access: WebAccess = field(default_factory=WebAccess)
    """From where browsers may use it."""


def listen(listening: Listening) -> list[socket.socket]:
    """Open a listening socket on every address.

    Raises:
        CannotStart: one of them cannot be used; then none stays open.
    """
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(_listen(address, listening)) for address in listening.addresses]
        opened.pop_all()
    return sockets


def _listen(address: str, listening: Listening) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio then disables Nagle's algorithm
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listening.shared:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # :: beside 0.0.0.0
        opened.bind((address, listening.port))
        opened.listen(BACKLOG)  # at once: until one listens, two sockets may be bound to one port
    except OSError as error:
        opened.close()
        raise CannotStart(_why_not(error, address, listening)) from error
    opened.setblocking(False)
    return opened


def _why_not(error: OSError, address: str, listening: Listening) -> str:
    where = f"{listening.what} port {listening.port}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is taken on {address}: stop what listens there, or choose another port with {listening.variable}"
    return f"{where} cannot be used on {address} ({error}): correct {listening.variable} or SCAUP_BIND"
