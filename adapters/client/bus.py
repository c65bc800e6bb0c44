"""A connection to the broker as the client needs it, its messages, and its errors. `paho_bus` has the one that is used."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from adapters.client.errors import ClientError, Refused, Unreachable, Untrusted
from broker.message import Message, Publication
from broker.mqtt.options import Address
from broker.mqtt.tls import why_silent


@dataclass(frozen=True, slots=True, kw_only=True)
class Received(Message):
    """A message with the wall time at which it was read."""

    at: datetime


class Bus(Protocol):
    """A connection to the broker. Its calls block, and nothing happens between them."""

    answer_name: str
    """The client in its response topics: its account, which may read them, and a name of its own."""

    def connect(self, resume: bool = False) -> bool:
        """Connect, and return whether the broker still had the session; `resume` asks for it."""
        ...

    def subscribe(self, *filters: str) -> None:
        """Subscribe at QoS 1 to what is published from now on, without the messages that are already retained."""
        ...

    def retained(self, *filters: str) -> dict[str, Received]:
        """Return the retained messages on these filters by topic."""
        ...

    def publish(self, publication: Publication, expiry_s: int | None = None) -> bool:
        """Publish, wait for the acknowledgement, and return whether the topic has a subscriber."""
        ...

    def send(self, publication: Publication) -> None:
        """Publish and do not wait; a connection that is lost is ignored."""
        ...

    def try_publish(self, publication: Publication) -> int:
        """Publish, and return the reason code of the acknowledgement."""
        ...

    def post(self, publication: Publication, qos: int) -> None:
        """Publish with the properties of `publication` only, and return at once: `settle` waits for the acknowledgements."""
        ...

    def settle(self) -> None:
        """Wait until all that was posted is acknowledged."""
        ...

    def idle(self, duration_s: float) -> None:
        """Wait, and serve the connection meanwhile."""
        ...

    def receive(self, timeout_s: float) -> Received | None:
        """Return the next message, None if there is none in time."""
        ...


class BusWithWill(Bus, Protocol):
    """A connection with a last will."""

    def last_will(self, publication: Publication, keep_alive_s: int) -> None:
        """Set what the broker publishes when this connection is lost, from the next `connect` on."""
        ...


_BAD_LOGIN = (0x86, 0x87, 0x8C)
_NOT_AUTHORIZED = 0x87
"""Reason codes of MQTT 5, section 2.4."""
_SETUP = (
    "`make up` makes the operator's password: SCAUP_DATA_DIR must name its folder, or SCAUP_MQTT_USERNAME and _PASSWORD a login"
)
_RULES = (
    "the role of this account does not allow it: `scaup account list` shows it. If it does, `make up` writes the rules again"
)
_COMPARE = "the password must be that of the running broker: compare SCAUP_DATA_DIR, SCAUP_MQTT_USERNAME and _PASSWORD"


def place(address: Address) -> str:
    """Return host and port as messages show them."""
    return f"{address.host}:{address.port}"


def no_broker(address: Address, why: str) -> Unreachable:
    """Return the error for an address at which no broker answers."""
    fix = "start it with `make up`, or set its address with SCAUP_MQTT_HOST and SCAUP_MQTT_PORT"
    return Unreachable(f"no broker at {place(address)}: {why.lower()}", fix)


def no_answer(address: Address) -> Unreachable:
    """Return the error for a program at this address that closed the connection before it answered."""
    what, _, fix = why_silent(address).partition("; ")
    return Unreachable(f"no broker at {place(address)}: {what}" + (f" ({fix})" if fix else ""), fix)


def not_trusted(address: Address, why: str) -> Untrusted:
    """Return the error for a broker with which TLS failed; `why` ends with what to change after its last colon."""
    what, _, fix = why.rpartition(": ")
    return Untrusted(f"the broker at {place(address)} is not used, {what}", fix)


def login_refused(address: Address, code: int) -> ClientError:
    """Return the error for a CONNACK with a reason code of 0x80 or more."""
    if code not in _BAD_LOGIN:
        return Unreachable(f"the broker at {place(address)} refused the connection (0x{code:02X})", "it must speak MQTT 5")
    if address.username is None:
        return Refused(f"the broker at {place(address)} requires a login (0x{code:02X})", _SETUP)
    return Refused(f"the broker at {place(address)} refused the login of {address.username!r} (0x{code:02X})", _COMPARE)


def publication_refused(address: Address, topic: str, code: int) -> Refused:
    """Return the error for a PUBACK with a reason code of 0x80 or more."""
    account = address.username
    why = "not authorized" if code == _NOT_AUTHORIZED else "refused"
    login = f"as {account!r}" if account else "without a login"
    fix = _RULES if account else _SETUP
    return Refused(f"the broker refused a message to {topic} {login}: {why} (0x{code:02X})", fix)
