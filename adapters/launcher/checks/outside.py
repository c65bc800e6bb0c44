"""The ports of components that `SCAUP_BIND` opens to other machines: whether they ask for a login, over TLS."""

import socket
import ssl
from collections.abc import Iterable

from adapters.launcher.checks import Finding, failed, ok
from broker.launch import tls
from broker.runtime.declaration import Declaration
from broker.runtime.settings import Settings, port_number

TIMEOUT_S = 3.0
_RESTART = "type `make down up`: listeners then follow SCAUP_BIND and SCAUP_PLAINTEXT again"


def check_outside(settings: Settings, declarations: Iterable[Declaration]) -> list[Finding]:
    """Send a request without a login to each port of these components, on every address that is open to other machines."""
    if tls.only_loopback(settings.bind):
        return []
    from broker.launch import certificates  # cryptography takes 50 ms to import

    hosts = certificates.outside_addresses(settings)
    ports = [
        (each.name, port_number(variable.name, settings.value(variable)))
        for each in declarations
        if each.publishes_ports
        for variable in each.listens
    ]
    return [_check(name, port, hosts, secure=tls.wants_tls(settings)) for name, port in ports]


def _check(name: str, port: int, hosts: Iterable[str], secure: bool) -> Finding:
    check, seen = f"port {port} of {name}", []
    for host in hosts:
        try:
            status = status_without_login(host, port, secure)
        except OSError as error:
            return failed(check, f"{host}: {error}", f"see `scaup logs {name}`, or {_RESTART}")
        if status != 401:
            return failed(check, f"{host} answers {status or 'no HTTP'} to a request without a login", _RESTART)
        seen.append(host)
    how = "over TLS" if secure else "in plain text"
    return ok(check, f"asks other machines for a login, {how}, at {', '.join(seen)}")


def status_without_login(host: str, port: int, secure: bool) -> int:
    """Return the HTTP status of a request without a login, 0 if the answer is none. Whose the certificate is does not matter.

    Raises:
        OSError: nothing answers, or not over TLS.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    raw = socket.create_connection((host, port), timeout=TIMEOUT_S)
    with context.wrap_socket(raw) if secure else raw as connection:
        name = f"[{host}]" if ":" in host else host
        connection.sendall(f"GET /health HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        words = connection.recv(100).split(b" ", 2)
    return int(words[1]) if words[0] == b"HTTP/1.1" and len(words) == 3 and words[1].isdigit() else 0
