"""The certificate of the listeners as `make up`, `scaup tls`, `scaup status` and `scaup doctor` use it.

`broker.launch.certificates` is imported where it is needed: its library takes 50 ms to import.
"""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import ip_address

from adapters.client.errors import Failed
from adapters.launcher.checks import Finding, failed, ok, warning
from adapters.launcher.runtime import own_broker
from broker.errors import CannotStart
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
    """Check plain text beyond loopback, the certificate, and that the broker's TLS port serves it."""
    findings = []
    if _is_plain(settings):
        findings.append(warning("plain text", _PLAIN, "leave SCAUP_PLAINTEXT out, then type `make down up`"))
    if _sends_plain(settings):
        findings.append(warning("plain text", _SENT_PLAIN.format(host=settings.mqtt_host), _USE_TLS))
    if not tls.is_set_up(settings) or not own_broker(settings):
        return findings
    if text := _certificate(settings):
        what, _, fix = text.rpartition(": ")
        findings.append(warning("certificate", what, fix))
    else:
        from broker.launch import certificates

        found = certificates.served(settings)
        findings.append(
            ok("certificate", f"valid until {found.not_after:%Y-%m-%d}, for {', '.join(found.names)}" if found else "")
        )
    return [*findings, *_served(settings)]


def _is_plain(settings: Settings) -> bool:
    return settings.plaintext and not tls.only_loopback(settings.bind)


def _sends_plain(settings: Settings) -> bool:
    """Return whether a login that the user has set goes to a broker on another machine in plain text."""
    return settings.mqtt_username is not None and settings.mqtt_ca is None and not own_broker(settings)


def _certificate(settings: Settings) -> str | None:
    if not tls.is_set_up(settings):
        return None
    from broker.launch import certificates

    return certificates.complaint(settings, datetime.now(UTC))


def _served(settings: Settings) -> Iterator[Finding]:
    """Check that the running broker serves the certificate in the file, on every port that has it."""
    from cryptography import x509

    placement = mosquitto.placement(settings, tls=True, certificates=False)
    ports = {each.port: each for each in placement.listeners() if not each.is_plain}
    for port, listener in ports.items():
        address = ip_address(listener.address or LOOPBACK[0])
        host = str(address) if not address.is_unspecified else LOOPBACK[address.version == 6]
        try:
            served = ssl.get_server_certificate((host, port), timeout=_ANSWER_S)
            wanted = tls.certificate_files(settings).certificate.read_bytes()
        except (OSError, ValueError) as error:
            yield failed(f"TLS on port {port}", f"no certificate at {host}:{port}: {error}", "type `make down up`")
            continue
        if x509.load_pem_x509_certificate(served.encode()) == x509.load_pem_x509_certificate(wanted):
            yield ok(f"TLS on port {port}", f"serves the certificate at {host}:{port}")
        else:
            detail = (
                f"another certificate than that of {tls.certificate_files(settings).certificate} is served at {host}:{port}"
            )
            yield warning(
                f"TLS on port {port}", detail, "type `scaup tls renew`, or `make down up` if it is MQTT over websockets"
            )


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
