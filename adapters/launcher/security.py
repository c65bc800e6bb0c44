"""The certificate of the listeners as `make up`, `scaup tls`, `scaup status` and `scaup doctor` use it.

`broker.launch.certificates` is imported where it is needed: its library takes 50 ms to import.
"""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from ipaddress import ip_address

from adapters.client.errors import Failed
from adapters.launcher.checks import Finding, failed, ok, warning
from adapters.launcher.runtime import own_broker
from broker.errors import CannotStart, InvalidSetting
from broker.launch import mosquitto, tls
from broker.runtime.settings import LOOPBACK, Settings

_ANSWER_S = 3.0
_SENT_PLAIN = "SCAUP_MQTT_PASSWORD passes the network to {host} in plain text"
_USE_TLS = "name the authority of that broker with SCAUP_MQTT_CA, and its port for TLS with SCAUP_MQTT_PORT"
_PLAIN = "passwords and messages pass the network in plain text (SCAUP_PLAINTEXT=yes)"


def secure(settings: Settings) -> list[str]:
    """Make what is missing where listeners have TLS, or need it; return what was made, one sentence each.

    Raises:
        Failed: it cannot be made; the text names the fix.
        InvalidSetting: the certificate of SCAUP_TLS_CERT cannot be used.
    """
    return make(settings) if tls.wants_tls(settings) or tls.is_set_up(settings) else []


def make(settings: Settings, names: Sequence[str] = ()) -> list[str]:
    """Make what is missing for TLS, also for `names`; return what was made and what clients need, one sentence each.

    Raises:
        Failed: it cannot be made; the text names the fix.
        InvalidSetting: a name cannot be in a certificate, or the certificate of SCAUP_TLS_CERT cannot be used.
    """
    from broker.launch import certificates

    with _written():
        done = certificates.ensure(settings, names)
    if done and settings.tls_cert is None:
        done.append(f"clients on other machines need {settings.data_dir / tls.AUTHORITY} (SCAUP_MQTT_CA), and a login")
    return done


def renew(settings: Settings) -> list[str]:
    """Replace the listeners' certificate, and return what was done, one sentence each.

    Raises:
        Failed: it cannot be made; the text names the fix.
        InvalidSetting: there is none yet, or the certificate of SCAUP_TLS_CERT cannot be used.
    """
    from broker.launch import certificates

    with _written():
        found = certificates.renew(settings)
    what = "the certificate of SCAUP_TLS_CERT" if settings.tls_cert else "the new certificate"
    done = [f"{what} is valid until {found.not_after:%Y-%m-%d} for {', '.join(found.names) or 'no name'}"]
    if settings.mqtt_ws_port and tls.wants_tls(settings):
        done.append("MQTT over websockets has the one before until the broker restarts (make down up)")
    return done


def complaints(settings: Settings) -> list[str]:
    """Return what is wrong with the safety of listeners and logins of this machine, each with its fix."""
    found = [f"{_PLAIN}: leave it out, then make down up"] if _is_plain(settings) else []
    if _sends_plain(settings):
        found.append(f"{_SENT_PLAIN.format(host=settings.mqtt_host)}: {_USE_TLS}")
    return [*found, *(text for text in [_certificate(settings)] if text)]


def check(settings: Settings) -> list[Finding]:
    """Check plain text beyond loopback, the certificate, its key, and that the broker's ports for TLS serve it."""
    findings = []
    if _is_plain(settings):
        findings.append(warning("plain text", _PLAIN, "leave SCAUP_PLAINTEXT out, then type `make down up`"))
    if _sends_plain(settings):
        findings.append(warning("plain text", _SENT_PLAIN.format(host=settings.mqtt_host), _USE_TLS))
    if not own_broker(settings):
        return findings
    if text := _certificate(settings):
        what, _, fix = text.rpartition(": ")
        findings.append(warning("certificate", what, fix))
    if not tls.is_set_up(settings):
        return findings  # there is no TLS, or its certificate is on the volume of the containers
    return [*findings, *_keys(settings), *_served(settings)]


def _keys(settings: Settings) -> Iterator[Finding]:
    """Check that other users cannot read private keys."""
    made = (settings.data_dir / tls.SERVER, settings.data_dir / tls.AUTHORITY_KEY)
    others = {tls.certificate_files(settings).key: 0o007} | dict.fromkeys(made, 0o077)
    readable = [str(path) for path, bits in others.items() if path.is_file() and path.stat().st_mode & bits]
    if readable:
        yield failed("private keys", f"others may read {', '.join(readable)}", f"chmod go= {' '.join(readable)}")
    else:
        yield ok("private keys", "for their owner only")


def _is_plain(settings: Settings) -> bool:
    return settings.plaintext and not tls.only_loopback(settings.bind)


def _sends_plain(settings: Settings) -> bool:
    """Return whether a login that the user has set goes to a broker on another machine in plain text."""
    return settings.mqtt_username is not None and settings.mqtt_ca is None and not own_broker(settings)


def _certificate(settings: Settings) -> str | None:
    """Return what is wrong with the certificate; of a broker in a container, with the one that it serves."""
    now = datetime.now(UTC)
    if tls.is_set_up(settings):
        from broker.launch import certificates

        return certificates.complaint(settings, now)
    if not tls.has_authority(settings) or not own_broker(settings):
        return None
    from broker.launch import certificates

    with suppress(OSError, ValueError):
        served = ssl.get_server_certificate((LOOPBACK[0], settings.mqtt_tls_port), timeout=_ANSWER_S)
        found = certificates.parse(served.encode())
        return certificates.ending(found, "the certificate of the broker", "type `scaup tls renew`", now)
    return None


def _served(settings: Settings) -> Iterator[Finding]:
    """Check that the running broker serves the certificate in the file, on every port that has it."""
    from broker.launch import certificates

    try:
        wanted = certificates.served(settings)
    except InvalidSetting:
        return  # reported as a damaged certificate
    assert wanted is not None
    if _certificate(settings) is None:
        yield ok("certificate", f"valid until {wanted.not_after:%Y-%m-%d}, for {', '.join(wanted.names) or 'no name'}")
    placement = mosquitto.placement(settings, tls=True, certificates=False)
    ports = {each.port: each for each in placement.listeners() if not each.is_plain}
    for port, listener in ports.items():
        address = ip_address(listener.address or LOOPBACK[0])
        host = str(address) if not address.is_unspecified else LOOPBACK[address.version == 6]
        check, where = f"TLS on port {port}", f"{host}:{port}"
        try:
            found = certificates.parse(ssl.get_server_certificate((host, port), timeout=_ANSWER_S).encode())
        except (OSError, ValueError) as error:
            yield failed(check, f"no certificate at {where}: {error}", "type `make down up`")
            continue
        if found == wanted:
            yield ok(check, f"{where} serves the certificate")
        else:
            file = tls.certificate_files(settings).certificate
            fix = "type `scaup tls renew`, or `make down up` if it is MQTT over websockets"
            yield warning(check, f"{where} serves another certificate than that of {file}", fix)


@contextmanager
def _written() -> Iterator[None]:
    """Turn errors of files into errors with a fix."""
    try:
        yield
    except OSError as error:
        raise Failed(f"{error.filename} cannot be written: {error.strerror}", "make it writable for this user") from error
    except CannotStart as error:
        what, _, fix = str(error).rpartition(": ")
        raise Failed(what, fix) from error
