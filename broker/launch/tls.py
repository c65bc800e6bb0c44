"""TLS of the listeners: which addresses it is for, and the context that servers use.

Programs on this machine use the loopback addresses in plain text. Every other address that `SCAUP_BIND` names speaks TLS, with
the one certificate of `certificate_files`: its own of SCAUP_TLS_CERT and SCAUP_TLS_KEY, or the one that `make up` and
`scaup tls init` make (`broker.launch.certificates`).
"""

import contextlib
import ipaddress
import json
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from broker.errors import InvalidSetting
from broker.runtime.settings import LOOPBACK, Settings

FOLDER = "tls"
"""Folder of the data directory with certificates and keys."""
AUTHORITY = f"{FOLDER}/ca.pem"
"""The authority's certificate, which clients need."""
AUTHORITY_KEY = f"{FOLDER}/ca.key"
SERVER = f"{FOLDER}/server.pem"
"""The made certificate of this machine after its private key: one file, so that a new pair replaces the old one at once."""
REVOKED = f"{FOLDER}/revoked.pem"
"""The list of revoked certificates of devices."""
ISSUED = f"{FOLDER}/devices.json"
"""User name and serial number of the valid certificate of every account that has one."""

_INIT = "type: scaup tls init"
_REASONS = {
    "KEY_VALUES_MISMATCH": "the key does not belong to the certificate",
    "KEY_TYPE_MISMATCH": "the key does not belong to the certificate",
    "EE_KEY_TOO_SMALL": "the key is too short",
}
"""What the reasons of OpenSSL mean for the user."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The addresses to listen on: `loopback` for programs on this machine, `outside` for other machines.

    Where `outside` has a wildcard (0.0.0.0 or ::), the same port can still listen on `loopback` beside it if both sockets set
    SO_REUSEPORT: the system gives a connection to the socket with the closest address. Addresses that the machine gets later
    belong to the wildcard.
    """

    loopback: tuple[str, ...]
    outside: tuple[str, ...]

    @property
    def wildcards(self) -> frozenset[int]:
        """The IP versions, 4 and 6, of which `outside` has the wildcard."""
        found = map(ipaddress.ip_address, self.outside)
        return frozenset(each.version for each in found if each.is_unspecified)


def reach(bind: Iterable[str], ipv6: bool) -> Reach:
    """Return the addresses of `bind`, and always both loopback addresses (::1 only with `ipv6`).

    Raises:
        InvalidSetting: a part of `bind` is not an IP address.
    """
    given: list[str] = []
    for each in bind:
        given += LOOPBACK if each == "localhost" else [ip_address(each)]
    wanted = [ipaddress.ip_address(each) for each in dict.fromkeys([*given, *LOOPBACK]) if ipv6 or ":" not in each]
    everywhere = {each.version for each in wanted if each.is_unspecified}
    outside = [each for each in wanted if not each.is_loopback and (each.is_unspecified or each.version not in everywhere)]
    return Reach(tuple(str(each) for each in wanted if each.is_loopback), tuple(map(str, outside)))


def only_loopback(bind: Iterable[str]) -> bool:
    """Return whether only this machine can reach these addresses."""
    return not reach(bind, ipv6=True).outside


def ip_address(text: str) -> str:
    """Return the address of a part of `SCAUP_BIND`.

    Raises:
        InvalidSetting: it is something else.
    """
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise InvalidSetting(f"SCAUP_BIND must be a comma-separated list of IP addresses, not {text!r}") from None


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """PEM files with the certificate of the listeners, its chain after it, and with its private key; may be the same file."""

    certificate: Path
    key: Path
    made: bool = False
    """Made by Scaup, not named by SCAUP_TLS_CERT."""

    @property
    def exist(self) -> bool:
        """Whether both files are there."""
        return self.certificate.is_file() and self.key.is_file()


def certificate_files(settings: Settings) -> CertificateFiles:
    """Return the files of the listeners' certificate, whether they exist or not.

    Raises:
        InvalidSetting: only one of SCAUP_TLS_CERT and SCAUP_TLS_KEY is set.
    """
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise InvalidSetting("SCAUP_TLS_CERT and SCAUP_TLS_KEY belong together: set both, or neither")
    if settings.tls_cert and settings.tls_key:
        return CertificateFiles(Path(settings.tls_cert).expanduser().absolute(), Path(settings.tls_key).expanduser().absolute())
    made = settings.data_dir / SERVER
    return CertificateFiles(made, made, made=True)


def is_set_up(settings: Settings) -> bool:
    """Return whether the listeners have a certificate: their own by SCAUP_TLS_CERT, or one that was made."""
    return settings.tls_cert is not None or certificate_files(settings).exist


def has_authority(settings: Settings) -> bool:
    """Return whether there is an authority, which devices with a certificate need."""
    return (settings.data_dir / AUTHORITY).is_file()


def certificate_users(data_dir: Path) -> dict[str, str]:
    """Return the user name in the valid certificate of every account that has one: without an authority, of none.

    It is another one in each certificate, so that one that is revoked has no rights, even on a connection that is open.
    """
    return {account: str(each["user"]) for account, each in read_issued(data_dir).items()}


def read_issued(data_dir: Path) -> dict[str, dict[str, str]]:
    """Return what is kept of the valid certificates, by account: `user`, and `serial` in hexadecimal digits."""
    path = data_dir / ISSUED
    if not path.is_file() or not (data_dir / AUTHORITY).is_file():
        return {}
    found: dict[str, dict[str, str]] = json.loads(path.read_text())
    return found


def wants_tls(settings: Settings) -> bool:
    """Return whether listeners beyond loopback have to speak TLS: always, unless SCAUP_PLAINTEXT allows plain text.

    Raises:
        InvalidSetting: `SCAUP_BIND` is not a list of IP addresses.
    """
    return not settings.plaintext and not only_loopback(settings.bind)


def server_context(files: CertificateFiles) -> ssl.SSLContext:
    """Return the context of a TLS server. It follows the files: a new pair serves from the next handshake on.

    TLS 1.2 and newer. Clients are not asked for a certificate.

    Raises:
        InvalidSetting: the files cannot be used; the text names the fix.
    """
    context = served = _new_context(files)
    stamp = _stamp(files)

    def newest(connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        nonlocal served, stamp
        if (found := _stamp(files)) != stamp:
            # A pair that is half replaced, or broken: the one before serves on, and `scaup doctor` reports the files.
            with contextlib.suppress(InvalidSetting):
                served, stamp = _new_context(files), found
        if served is not context:
            connection.context = served

    context.sni_callback = newest
    return context


def _new_context(files: CertificateFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
    except ssl.SSLError as error:
        why = _REASONS.get(error.reason or "") or _unreadable(files)
        raise InvalidSetting(f"{_named(files)} cannot be used, {why}: {_fix(files)}") from error
    except OSError as error:
        raise InvalidSetting(f"{_named(files)} cannot be read ({error.strerror or error}): {_fix(files)}") from error
    return context


def _no_password() -> str:
    """Prevent OpenSSL from asking the terminal for the password of an encrypted key."""
    return ""


def _unreadable(files: CertificateFiles) -> str:
    """Return why OpenSSL found no certificate and key where it gives no reason."""
    if b"ENCRYPTED" in files.key.read_bytes():
        return "the key is encrypted"
    return "they are no PEM files with a certificate and its key"


def _stamp(files: CertificateFiles) -> tuple[object, ...]:
    try:
        found = [each.stat() for each in (files.certificate, files.key)]
    except OSError:
        return ()
    return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in found)


def _named(files: CertificateFiles) -> str:
    both = [files.certificate] if files.certificate == files.key else [files.certificate, files.key]
    return " with ".join(map(str, both))


def _fix(files: CertificateFiles) -> str:
    return _INIT if files.made else "correct SCAUP_TLS_CERT and SCAUP_TLS_KEY"
