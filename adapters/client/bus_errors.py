"""What a broker's refusals mean, and what to do about them. Reason codes are those of MQTT 5, section 2.4."""

from adapters.client.errors import CommandError, Refused, Unreachable
from broker.mqtt.options import Address

_BAD_LOGIN = (0x86, 0x87, 0x8C)
_NOT_AUTHORIZED = 0x87
_SETUP = (
    "`make up` makes the operator's password: SCAUP_DATA_DIR must name its folder, or SCAUP_MQTT_USERNAME and _PASSWORD a login"
)
_COMPARE = "the password must be that of the broker which runs: compare SCAUP_DATA_DIR, SCAUP_MQTT_USERNAME and _PASSWORD"


def where(address: Address) -> str:
    """Return host and port, for people."""
    return f"{address.host}:{address.port}"


def no_broker(address: Address, why: str) -> Unreachable:
    """Return the error for an address at which no broker answers."""
    fix = "start it with `make up`, or say where it is with SCAUP_MQTT_HOST and SCAUP_MQTT_PORT"
    return Unreachable(f"no broker at {where(address)}: {why.lower()}", fix)


def login_refused(address: Address, code: int) -> CommandError:
    """Return the error for a CONNACK with a reason code of 0x80 or more."""
    place, account = where(address), address.username
    if code not in _BAD_LOGIN:
        return Unreachable(f"the broker at {place} refused the connection (0x{code:02X})", "it must speak MQTT 5")
    if account is None:
        return Refused(f"the broker at {place} wants a login (0x{code:02X})", _SETUP)
    return Refused(f"the broker at {place} refused the login of {account!r} (0x{code:02X})", _COMPARE)


def publication_refused(address: Address, topic: str, code: int) -> Refused:
    """Return the error for a PUBACK with a reason code of 0x80 or more."""
    account = address.username
    why = "not authorized" if code == _NOT_AUTHORIZED else "refused"
    who = f"as {account!r}" if account else "without a login"
    fix = "the broker's access rules do not let this account publish there: `make up` makes them anew" if account else _SETUP
    return Refused(f"the broker refused a message to {topic} {who}: {why} (0x{code:02X})", fix)
