"""Listening sockets on one or more addresses, with errors that name the port and the fix."""

import contextlib
import errno
import ipaddress
import socket
import ssl
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from adapters.outside.authentication import Authenticator
from broker.errors import CannotStart
from broker.launch import mosquitto
from broker.launch.accounts import Logins
from broker.launch.tls import certificate_files, reach, server_context, wants_tls
from broker.runtime.declaration import Variable
from broker.runtime.settings import Settings, port_number
from broker.runtime.web_access import WebAccess

if TYPE_CHECKING:
    from broker.launch.certificates import ServerCertificate

BACKLOG = 2_048
EVERYWHERE = ("0.0.0.0",)  # noqa: S104 - inside a container, whose published ports decide what reaches it

_OFFSET = 10_000


@dataclass(frozen=True, slots=True)
class Outside:
    """What a server listens on for other machines: addresses, port, TLS (None: plain text), and the check of logins.

    A wildcard address takes connections of this machine too; those are not asked for a login.
    """

    addresses: tuple[str, ...]
    port: int
    context: ssl.SSLContext | None
    authenticator: Authenticator


@dataclass(frozen=True, slots=True)
class Listening:
    """The addresses and the port of a server, and how errors name them."""

    addresses: tuple[str, ...]
    """In plain text and without a login: for this machine, and inside a container for its neighbours."""
    port: int
    variable: str
    """Environment variable that sets the port."""
    what: str = "HTTP"
    """Purpose of the port, as errors name it."""
    shared: bool = False
    """Other processes of this user that set it too may listen on the same port; the system spreads the connections."""
    access: WebAccess = field(default_factory=WebAccess)
    """From where browsers may use it."""
    outside: Outside | None = None
    """For other machines; None: they cannot connect."""

    @property
    def authenticator(self) -> Authenticator | None:
        """What checks the logins of clients from other machines; None: there are none."""
        return self.outside.authenticator if self.outside else None

    @property
    def places(self) -> str:
        """Addresses and ports, for people."""
        inside = f"{', '.join(self.addresses)}, port {self.port}" if self.addresses else ""
        if self.outside is None:
            return inside
        how = "with TLS" if self.outside.context else "in plain text"
        outside = f"{', '.join(self.outside.addresses)}, port {self.outside.port}, {how} and logins"
        return f"{inside}; {outside}" if inside else outside


def read_listening(settings: Settings, variable: Variable, what: str = "HTTP", shared: bool = False) -> Listening:
    """Return on what a server listens: this machine's port as ever, and beyond it what `SCAUP_BIND` opens.

    In a container, the neighbours' port and the one for other machines differ, since both are for every address.

    Args:
        settings: those of the component.
        variable: sets the port.
        what: purpose of the port.
        shared: see `Listening`.

    Raises:
        InvalidSetting: the port, `SCAUP_BIND` or the certificate cannot be used; the text names the fix.
    """
    port = port_number(variable.name, settings.value(variable))
    places = reach(settings.bind, mosquitto.has_ipv6())
    inside = tuple(each for each in places.loopback if ipaddress.ip_address(each).version not in places.wildcards)
    beyond, beyond_port = places.outside, port
    if settings.in_container:
        inside, beyond, beyond_port = EVERYWHERE, EVERYWHERE if beyond else (), outside_port(port)
    access, outside = WebAccess.load(settings, (*inside, *beyond)), None
    if beyond:
        context = server_context(certificate_files(settings)) if wants_tls(settings) else None
        outside = Outside(beyond, beyond_port, context, Authenticator(Logins(settings.data_dir)))
        if context is not None and (certificate := _certificate(settings)) is not None:
            access = replace(access, names=access.names | {each.lower() for each in certificate.names})
    return Listening(inside, port, variable.name, what, shared, access, outside)


def _certificate(settings: Settings) -> "ServerCertificate | None":
    from broker.launch import certificates  # cryptography takes 50 ms to import

    return certificates.served(settings)


def outside_port(port: int) -> int:
    """Return the port for other machines inside a container whose neighbours use `port`."""
    return port + _OFFSET if port + _OFFSET <= 65_535 else port - _OFFSET


class Sockets(NamedTuple):
    """Listening sockets, for this machine and for others."""

    inside: list[socket.socket]
    outside: list[socket.socket]


def listen(listening: Listening) -> Sockets:
    """Open a listening socket on every address.

    Raises:
        CannotStart: one of them cannot be used; then none stays open.
    """
    outside = listening.outside
    with contextlib.ExitStack() as opened:
        sockets = Sockets(
            [opened.enter_context(_listen(each, listening.port, listening)) for each in listening.addresses],
            [opened.enter_context(_listen(each, outside.port, listening)) for each in outside.addresses] if outside else [],
        )
        opened.pop_all()
    return sockets


def _listen(address: str, port: int, listening: Listening) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio then disables Nagle's algorithm
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listening.shared:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # :: beside 0.0.0.0
        opened.bind((address, port))
        opened.listen(BACKLOG)  # at once: until one listens, two sockets may be bound to one port
    except OSError as error:
        opened.close()
        raise CannotStart(_why_not(error, address, port, listening)) from error
    opened.setblocking(False)
    return opened


def _why_not(error: OSError, address: str, port: int, listening: Listening) -> str:
    where = f"{listening.what} port {port}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is taken on {address}: stop what listens there, or choose another port with {listening.variable}"
    return f"{where} cannot be used on {address} ({error}): correct {listening.variable} or SCAUP_BIND"
