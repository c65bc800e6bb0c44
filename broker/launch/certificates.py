"""The certificate of this machine's listeners: make it, renew it, check one that was brought, and report when it ends.

Files in `{data}/tls`: `ca.pem`, which clients need; its key `ca.key`; `server.pem`, what the listeners serve; `names`, what
`scaup tls init --name` asked for; `revoked.pem`, the certificates of devices that the broker refuses.
"""

import contextlib
import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from cryptography import x509

from broker.errors import CannotStart, InvalidSetting
from broker.launch.authority import Authority, write_public
from broker.launch.credentials import write_private
from broker.launch.tls import (
    AUTHORITY,
    AUTHORITY_KEY,
    FOLDER,
    ISSUED,
    REVOKED,
    CertificateFiles,
    certificate_files,
    is_set_up,
    reach,
    server_context,
)
from broker.runtime.settings import Settings

WARN_BEFORE = timedelta(days=30)
"""Time before its end from which a certificate causes a warning."""
WARN_BEFORE_AUTHORITY = timedelta(days=180)

_EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
"""A clock that shows an earlier time has not been set: small computers begin at 1970."""
_ANOTHER = "remove ca.pem and ca.key there, type `scaup tls init`, and give every client the new ca.pem"

_NAME = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_LONGEST_NAME = 253
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """What the listeners' certificate says. `made`: signed by the authority of this installation."""

    serial: int
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    made: bool


def ensure(settings: Settings, names: Iterable[str] = (), now: datetime | None = None, of_host: bool = True) -> list[str]:
    """Make what is missing for TLS, and return what was made or changed, one sentence each; empty where nothing is missing.

    Makes an authority if there is none, and a certificate if there is none for all names of this machine, or if it ends within
    30 days. With further `names`, a new certificate keeps the names of the one before. A certificate of SCAUP_TLS_CERT is
    checked instead.

    Args:
        settings: addresses, names and the data directory.
        names: further names, which later certificates keep.
        now: the time, by default that of the clock.
        of_host: with the name of this machine; not in a container, which gets another one at each start.

    Raises:
        InvalidSetting: a name is none, or the certificate of SCAUP_TLS_CERT cannot be used.
        CannotStart: the files of the authority are damaged.
        OSError: the data directory cannot be written.
    """
    now = now or datetime.now(UTC)
    if settings.tls_cert or settings.tls_key:
        check_own(settings, now)
        return []
    done = [] if (settings.data_dir / AUTHORITY).is_file() else ["made a certificate authority for this installation"]
    authority = open_authority(settings.data_dir, now)
    wanted = _wanted_names(settings, names, of_host)
    present = _present(settings, authority)
    if present is None:
        done.append("made a certificate for this machine")
    elif not present.made:
        done.append("made a new certificate: the one before is not of this authority")
    elif missing := [each for each in wanted if each not in present.names]:
        done.append(f"made a new certificate, now also for {', '.join(missing)}")
    elif present.not_before > now:
        done.append("made a new certificate: the one before is not valid yet")
    elif present.not_after - now < min(WARN_BEFORE, authority.certificate.not_valid_after_utc - now):
        done.append(f"renewed the certificate, which would have ended on {present.not_after:%Y-%m-%d}")
    else:
        return done
    _write_server(settings, authority, _with_present(wanted, present) if names else wanted, now)
    return done


def renew(settings: Settings, now: datetime | None = None, of_host: bool = True) -> ServerCertificate:
    """Replace the listeners' certificate by a new one of the same authority. That of SCAUP_TLS_CERT is only checked.

    The new one keeps the names of the one before: this command may lack the SCAUP_BIND that `make up` had.

    Raises:
        InvalidSetting: there is none yet, or the certificate of SCAUP_TLS_CERT cannot be used.
        CannotStart: the files of the authority are damaged.
        OSError: the data directory cannot be written.
    """
    now = now or datetime.now(UTC)
    if settings.tls_cert or settings.tls_key:
        return check_own(settings, now)
    if not (settings.data_dir / AUTHORITY).is_file():
        raise InvalidSetting(f"there is no authority in {settings.data_dir / FOLDER}: type `scaup tls init` first")
    authority = open_authority(settings.data_dir, now)
    wanted = _wanted_names(settings, (), of_host)
    _write_server(settings, authority, _with_present(wanted, _present(settings, authority)), now)
    return read(certificate_files(settings), authority)


def open_authority(data_dir: Path, now: datetime) -> Authority:
    """Return the authority of a data directory, made if there is none, with its list of revoked certificates.

    Raises:
        CannotStart: its files are damaged, or it is not valid now.
        OSError: the data directory cannot be written.
    """
    certificate, key = data_dir / AUTHORITY, data_dir / AUTHORITY_KEY
    certificate.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if certificate.is_file():
        authority = Authority.load(certificate, key)
        _check_dates(authority, certificate, now)
    else:
        if now < _EARLIEST:
            raise CannotStart(f"the clock says {now:%Y-%m-%d}, so certificates would have wrong dates: set it first")
        authority = Authority.make(_host_name(), now)
        authority.save(certificate, key)
        for of_another in (REVOKED, ISSUED):
            (data_dir / of_another).unlink(missing_ok=True)
    if not (data_dir / REVOKED).is_file():
        write_public(data_dir / REVOKED, authority.revocations((), now))
    return authority


def check_own(settings: Settings, now: datetime) -> ServerCertificate:
    """Check the certificate of SCAUP_TLS_CERT and its key: readable, a pair, and valid now.

    Raises:
        InvalidSetting: it cannot be used; the text names the fix.
    """
    files = certificate_files(settings)
    server_context(files)
    found = read(files, None)
    if found.not_after <= now:
        raise InvalidSetting(f"SCAUP_TLS_CERT {files.certificate} ended on {found.not_after:%Y-%m-%d %H:%M}Z: renew it")
    if found.not_before > now:
        begins = f"{found.not_before:%Y-%m-%d %H:%M}Z"
        raise InvalidSetting(f"SCAUP_TLS_CERT {files.certificate} is valid from {begins} only: correct it, or the clock")
    return found


def read(files: CertificateFiles, authority: Authority | None) -> ServerCertificate:
    """Read a certificate. `authority` is that of this installation.

    Raises:
        InvalidSetting: it cannot be read.
    """
    try:
        pem = files.certificate.read_bytes()
    except OSError as error:
        raise InvalidSetting(f"the certificate {files.certificate} cannot be read: {error.strerror or error}") from error
    try:
        return parse(pem, authority)
    except ValueError as error:
        raise InvalidSetting(
            f"the certificate {files.certificate} cannot be read, it is damaged: `scaup tls renew` makes one"
        ) from error


def parse(pem: bytes, authority: Authority | None = None) -> ServerCertificate:
    """Read the first certificate of a PEM text.

    Raises:
        ValueError: there is none.
    """
    found = x509.load_pem_x509_certificate(pem)
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    listed = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    made = authority is not None and authority.issued(found)
    dates = found.not_valid_before_utc, found.not_valid_after_utc
    return ServerCertificate(found.serial_number, tuple(listed), *dates, made)


def served(settings: Settings) -> ServerCertificate | None:
    """Return the certificate that the listeners serve, None where TLS is not set up.

    Raises:
        InvalidSetting: it cannot be read.
    """
    return read(certificate_files(settings), None) if is_set_up(settings) else None


def complaint(settings: Settings, now: datetime) -> str | None:
    """Return what is wrong with the listeners' certificate, with the fix: it ends within 30 days, ended, or is damaged.

    None where it is good, where TLS is not set up, or where this user may not read it.
    """
    fix = "replace it, then type `scaup tls renew`" if settings.tls_cert else "type `scaup tls renew`"
    try:
        files = certificate_files(settings)
        found = check_own(settings, now) if settings.tls_cert else served(settings)
    except InvalidSetting as error:
        return None if isinstance(error.__cause__, PermissionError) else str(error)
    except PermissionError:
        return None
    if found is None:
        return None
    return ending(found, f"the certificate {files.certificate}", fix, now) or _authority_ending(settings, now)


def ending(found: ServerCertificate, what: str, fix: str, now: datetime) -> str | None:
    """Return that a certificate, named by `what`, ended or ends within 30 days, with the fix; None where it does not."""
    if found.not_after - now >= WARN_BEFORE:
        return None
    ends = f"{found.not_after:%Y-%m-%d %H:%M}Z"
    if found.not_after <= now:
        return f"{what} ended on {ends}, clients refuse it: {fix}"
    return f"{what} ends on {ends}, in {(found.not_after - now).days} days: {fix}"


def _check_dates(authority: Authority, path: Path, now: datetime) -> None:
    begins, ends = authority.certificate.not_valid_before_utc, authority.certificate.not_valid_after_utc
    if not begins <= now < ends:
        dates = f"{begins:%Y-%m-%d} to {ends:%Y-%m-%d}"
        raise CannotStart(f"the authority {path} is valid from {dates}, not now: correct the clock, or else {_ANOTHER}")


def _authority_ending(settings: Settings, now: datetime) -> str | None:
    """Return that the authority ends within half a year: every client has to get the next one by hand."""
    path = settings.data_dir / AUTHORITY
    if settings.tls_cert or not path.is_file():
        return None
    with contextlib.suppress(OSError, ValueError):
        ends = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
        if ends - now < WARN_BEFORE_AUTHORITY:
            return f"the authority {path} ends on {ends:%Y-%m-%d}, and every certificate with it: {_ANOTHER}"
    return None


def _present(settings: Settings, authority: Authority) -> ServerCertificate | None:
    files = certificate_files(settings)
    try:
        server_context(files)
        return read(files, authority)
    except InvalidSetting:
        return None


def _with_present(wanted: list[str], present: ServerCertificate | None) -> list[str]:
    """Return the wanted names and those that a certificate of this authority has already."""
    return list(dict.fromkeys([*wanted, *(present.names if present and present.made else ())]))


def _write_server(settings: Settings, authority: Authority, names: Iterable[str], now: datetime) -> None:
    write_private(certificate_files(settings).certificate, authority.server(names, now))


def outside_addresses(settings: Settings) -> list[str]:
    """Return the addresses beyond loopback on which this machine listens; those it has now, where SCAUP_BIND has a wildcard."""
    places = reach(settings.bind, ipv6=True)
    named = [each.partition("%")[0] for each in places.outside if not ipaddress.ip_address(each).is_unspecified]
    return [*named, *_own_addresses(places.wildcards)]


def _wanted_names(settings: Settings, further: Iterable[str], of_host: bool) -> list[str]:
    """Return the names for the certificate, and keep `further` ones for later certificates.

    Raises:
        InvalidSetting: a name cannot be in a certificate.
    """
    path = settings.data_dir / FOLDER / "names"
    kept = path.read_text().split() if path.is_file() else []
    given = list(dict.fromkeys([*kept, *map(host_name, further)]))
    if given != kept:
        write_public(path, "".join(f"{each}\n" for each in given))
    short = _host_name().partition(".")[0]
    own = [each for each in (_host_name(), short, f"{short}.local") if of_host and _NAME.fullmatch(each)]
    configured = map(host_name, settings.host_names)
    loopback = reach(settings.bind, ipv6=True).loopback
    return list(dict.fromkeys([*given, *own, *configured, "localhost", *loopback, *outside_addresses(settings)]))


def host_name(text: str) -> str:
    """Return a host name or an IP address as a certificate has it.

    Raises:
        InvalidSetting: it is something else.
    """
    name = text.strip().lower().rstrip(".")
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(name.strip("[]")))
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name) or name.replace(".", "").isdigit():
        raise InvalidSetting(
            f"{text!r} is neither a host name nor an IP address: give one without scheme and port, such as plant.example"
        )
    return name


def _host_name() -> str:
    return socket.gethostname().lower().rstrip(".") or "localhost"


def _own_addresses(versions: Iterable[int]) -> list[str]:
    """Return the addresses of this machine that others can use, of these IP versions."""
    texts = [each.address for found in psutil.net_if_addrs().values() for each in found if each.family in _FAMILIES]
    known = [ipaddress.ip_address(each.partition("%")[0]) for each in texts]
    return [str(each) for each in known if each.version in versions and not each.is_loopback and not each.is_link_local]
