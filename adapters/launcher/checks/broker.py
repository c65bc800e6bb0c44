"""The running broker: version, dropped messages, logins, and that no account can publish outside its declaration.

The probes are small messages that are never retained, on topics without a subscriber.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from adapters.client.bus import Bus, Received
from adapters.client.errors import ClientError, Refused
from adapters.launcher.checks import Finding, failed, ok, warning
from adapters.launcher.checks.machine import numbers
from broker.contract.roles import answer_filters
from broker.message import Publication
from broker.runtime.declaration import Declaration
from broker.runtime.settings import Settings, read_password

VERSION = "$SYS/broker/version"
DROPPED = "$SYS/broker/publish/messages/dropped"
FORBIDDEN_TO_ALL = "/actuators/scaup-doctor-probe"
ALLOWED_TO_ALL = "/readings/scaup-doctor/probe"
NOT_AUTHORIZED = 0x87
STRAGGLER_S = 0.2
"""How long a message may take from the broker to a second client."""

Login = Callable[[str | None, str | None], AbstractContextManager[Bus]]
"""Connects with an account and its password, or without both."""

_MAKE_UP = "type `make up`: it writes the access rules again and the broker reads them"


def check_broker(retained: Mapping[str, Received]) -> list[Finding]:
    """Check version and dropped messages, as far as the broker publishes them under $SYS."""
    return [version(_text(retained, VERSION)), dropped(_text(retained, DROPPED))]


def version(text: str | None) -> Finding:
    """Check the broker's version."""
    if text is None:
        return warning("broker version", "the broker does not publish it", "nothing, if it is another broker than Mosquitto")
    if "mosquitto" in text and numbers(text) < (2, 0):
        return failed("broker version", f"{text} is too old", "install Mosquitto 2.0 or newer: MQTT 5 with reason codes")
    return ok("broker version", text)


def dropped(text: str | None) -> Finding:
    """Check that the broker has not dropped messages for slow clients."""
    if text is None or not text.isdigit():
        return ok("dropped messages", "not counted by this broker yet")
    if int(text):
        detail = f"the broker has dropped {int(text):,} messages since it started"
        return warning("dropped messages", detail, "see which client is slow in `scaup logs broker`, or raise max_queued_bytes")
    return ok("dropped messages", "none")


def check_access(settings: Settings, declarations: Mapping[str, Declaration], login: Login) -> list[Finding]:
    """Check each account's login and that it cannot publish outside its declaration; also without an account."""
    findings = [anonymous(login)]
    for name in declarations:
        password = read_password(settings.data_dir, name)
        if password is not None:
            findings.append(account(name, password, login))
    return findings


def account(name: str, password: str, login: Login) -> Finding:
    """Check that an account logs in, and is refused outside its declaration."""
    check = f"access of {name}"
    try:
        with login(name, password) as bus:
            reason = bus.try_publish(_probe(f"scaup-doctor/{name}"))
    except Refused as error:
        return failed(check, error.message, f"{_MAKE_UP}; the password is in credentials/{name}")
    except ClientError as error:
        return failed(check, error.message, error.fix)
    if reason != NOT_AUTHORIZED:
        return failed(check, f"it may publish to scaup-doctor/{name} (0x{reason:02X}), which it never declared", _MAKE_UP)
    return ok(check, "logs in; refused outside its declaration (0x87)")


def anonymous(login: Login) -> Finding:
    """Check that a client without an account may publish what a device publishes, and nothing else."""
    check = "access without login"
    try:
        forbidden, allowed = _reason(login, FORBIDDEN_TO_ALL), _reason(login, ALLOWED_TO_ALL)
    except Refused:
        return ok(check, "not possible: this broker requires a login")
    except ClientError as error:
        return failed(check, error.message, error.fix)
    if forbidden != NOT_AUTHORIZED:
        return failed(check, f"any client may publish to {FORBIDDEN_TO_ALL} (0x{forbidden:02X})", _MAKE_UP)
    if allowed >= 0x80:
        return failed(check, f"a device may not publish to {ALLOWED_TO_ALL} (0x{allowed:02X})", _MAKE_UP)
    return ok(check, "may send readings; refused on actuators (0x87)")


def answers_hidden(login: Login, ask: Callable[[], object]) -> Finding:
    """Check that a client without an account does not read the answer to another one, which `ask` waits for."""
    check = "answers to others"
    try:
        with login(None, None) as bus:
            bus.subscribe(*answer_filters())
            ask()
            seen = bus.receive(STRAGGLER_S)
    except Refused:
        return ok(check, "not readable without an account: this broker requires a login")
    except ClientError as error:
        return warning(check, f"not tried: {error.message}", error.fix)
    if seen is not None:
        return failed(check, f"a client without an account reads {seen.topic}", _MAKE_UP)
    return ok(check, "not readable without an account")


def _reason(login: Login, topic: str) -> int:
    """Mosquitto 2.0.11 may close a connection on which it has refused a message, so each probe has its own."""
    with login(None, None) as bus:
        return bus.try_publish(_probe(topic))


def _probe(topic: str) -> Publication:
    return Publication(topic=topic, payload=b'{"probe":"scaup doctor"}')


def _text(retained: Mapping[str, Received], topic: str) -> str | None:
    message = retained.get(topic)
    return None if message is None else message.payload.decode(errors="replace").strip()
