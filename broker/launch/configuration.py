"""The broker's configuration for one machine, rendered from `mosquitto.conf`. Pure.

The listeners in that file differ in what they speak and who may use them. `Placement` decides which of them there are, and on
which addresses.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from broker.launch.tls import CertificateFiles, Reach

MQTT, TLS, CERTIFICATES, WEBSOCKETS, SECURE_WEBSOCKETS = 1883, 8883, 8884, 9001, 9002
"""Ports of the listeners in `mosquitto.conf`, and inside a container."""

OTHER_FILES = 256
"""Files that the broker may have open beside its connections, and room for connections that it is about to refuse."""
_VARIABLES = {
    MQTT: "SCAUP_MQTT_PORT",
    TLS: "SCAUP_MQTT_TLS_PORT",
    CERTIFICATES: "SCAUP_MQTT_CERTIFICATE_PORT",
    WEBSOCKETS: "SCAUP_MQTT_WS_PORT",
    SECURE_WEBSOCKETS: "SCAUP_MQTT_WS_PORT",
}
_PLAIN = (MQTT, WEBSOCKETS)
_WEBSOCKETS = "protocol websockets"
_LOGIN_OPTIONS = ("allow_anonymous ", "acl_file ", "password_file ")
_MADE = "# Made by Scaup from mosquitto.conf: changes here are lost.\n"


@dataclass(frozen=True, slots=True)
class Listener:
    """One listener: its port in `mosquitto.conf`, its port on this machine, and its address, None for every address."""

    kind: int
    port: int
    address: str | None

    @property
    def variable(self) -> str:
        """The variable that sets the port."""
        return _VARIABLES[self.kind]

    @property
    def is_plain(self) -> bool:
        """Whether it speaks plain text."""
        return self.kind in _PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The machine's part of a rendered configuration.

    The listeners bind to the addresses of `reach`, to every address if there is none (inside a container). Those in plain text
    bind to loopback only, unless `plaintext` allows more. There is no listener whose port is None. Origins of websockets are
    checked only with `checks_origins`: by Mosquitto 2.1 and newer. `certificate` replaces the files in `mosquitto.conf`.
    `files` is how many files the broker may have open, None where that is enough for full listeners. `user` is the system
    account that a broker started by root keeps.
    """

    mqtt_port: int = MQTT
    ws_port: int | None = None
    tls_port: int | None = None
    certificate_port: int | None = None
    wss_port: int | None = None
    origins: tuple[str, ...] = ()
    checks_origins: bool = False
    reach: Reach | None = None
    plaintext: bool = False
    anonymous: bool = True
    certificate: CertificateFiles | None = None
    files: int | None = None
    user: str | None = None

    def listeners(self) -> Iterator[Listener]:
        """Yield the listeners on every address."""
        ports = (self.mqtt_port, self.tls_port, self.certificate_port, self.ws_port, self.wss_port)
        for kind, port in zip(_VARIABLES, ports, strict=True):
            if port is not None:
                yield from (Listener(kind, port, address) for address in self.addresses(kind))

    def addresses(self, kind: int) -> tuple[str | None, ...]:
        """Return the addresses of a kind of listener; of one that is not ours, all of them."""
        if self.reach is None:
            return (None,)
        outside, loopback = self.reach.outside, self.reach.loopback
        # Mosquitto cannot open a port on a wildcard and on an address beside it.
        uncovered = tuple(each for each in loopback if _version(each) not in self.reach.wildcards)
        if kind == SECURE_WEBSOCKETS:
            return outside
        if kind not in _PLAIN or self.plaintext:
            return (*outside, *uncovered)
        return uncovered if kind == WEBSOCKETS and self.wss_port is not None else loopback


def render(text: str, placement: Placement) -> str:
    """Return the configuration for one machine, from the text of `mosquitto.conf`."""
    wanted = list(placement.listeners())
    known = {each.kind for each in wanted}
    common, blocks = _split(_with_room(text, len(wanted), placement))
    if not placement.anonymous:
        common = [_login_required(line) for line in common]
    if placement.user:
        common.append(f"user {placement.user}")
    blocks = {kind: _served(options, placement) for kind, options in blocks.items() if kind in known or kind not in _VARIABLES}
    if known != {MQTT}:
        common, blocks = _separate_logins(common, blocks, placement)
    for kind, options in blocks.items():
        others = [] if kind in known else [Listener(kind, kind, address) for address in placement.addresses(kind)]
        for each in (*(each for each in wanted if each.kind == kind), *others):
            common += ["", *_listener(each, options)]
    return _MADE + "\n".join(common) + "\n"


def _with_room(text: str, listeners: int, placement: Placement) -> str:
    """Lower the limits of connections, so that full listeners leave the broker files to open.

    Mosquitto 2.0.11 has no rules at all after it could not open the access file again.
    """
    if placement.files is None:
        return text
    room = max(1, (placement.files - OTHER_FILES) // max(1, listeners))
    return re.sub(r"^max_connections (\d+)", lambda found: f"max_connections {min(room, int(found[1]))}", text, flags=re.M)


def _split(text: str) -> tuple[list[str], dict[int, list[str]]]:
    """Separate the common settings from the listeners, which are returned by port, with the options that follow each."""
    common: list[str] = []
    blocks: dict[int, list[str]] = {}
    for line in (each.strip() for each in text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if line.startswith("listener "):
            options = blocks[int(line.split()[1])] = []
        elif blocks:
            options.append(line)
        else:
            common.append(line)
    return common, blocks


def _served(options: Iterable[str], placement: Placement) -> list[str]:
    """Return the options of a listener with the files of its certificate."""
    if placement.certificate is None:
        return list(options)
    files = {"certfile": placement.certificate.certificate, "keyfile": placement.certificate.key}
    return [f"{name} {files[name]}" if (name := line.partition(" ")[0]) in files else line for line in options]


def _separate_logins(
    common: list[str], blocks: dict[int, list[str]], placement: Placement
) -> tuple[list[str], dict[int, list[str]]]:
    """Give every listener its own login options, so that only MQTT in plain text may do without an account."""
    logins = [line for line in common if line.startswith(_LOGIN_OPTIONS)]
    required = [_login_required(line) for line in logins]
    origins = [f"websockets_origin {each}" for each in placement.origins] if placement.checks_origins else []
    reached = placement.reach is not None and bool(placement.reach.outside)
    found = {}
    for kind, options in blocks.items():
        # Without an account, a device is known by its certificate: no password is asked for.
        own = [each for each in required if not each.startswith("password_file")] if kind == CERTIFICATES else required
        anonymous = kind == MQTT or (kind not in _VARIABLES and not reached)
        found[kind] = [*options, *(logins if anonymous else own), *(origins if _WEBSOCKETS in options else [])]
    return ["per_listener_settings true", *(line for line in common if line not in logins)], found


def _login_required(line: str) -> str:
    return re.sub(r"^allow_anonymous\b.*", "allow_anonymous false", line)


def _listener(listener: Listener, options: list[str]) -> list[str]:
    port, address = listener.port, listener.address
    if address is None:
        return [f"listener {port}", *options]
    everywhere = ipaddress.ip_address(address).is_unspecified
    first = f"listener {port}" if everywhere and _WEBSOCKETS in options else f"listener {port} {address}"
    # Without its domain, the websockets listener of 2.0.11 binds every address.
    return [first, *options, f"socket_domain ipv{_version(address)}"]


def _version(address: str) -> int:
    return ipaddress.ip_address(address).version
