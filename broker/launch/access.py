"""The broker's access file, generated from the declarations: all clients may read, and publish only declared topics."""

from collections.abc import Iterable

from broker.contract import device_filters
from broker.contract.components.topics import REJECTED, STATE, WARNING
from broker.runtime.declaration import Declaration

DEVICE = "device"
"""Account that devices share where anonymous access is off."""

_HEADER = "# Made by Scaup from the components' declarations: changes here are lost.\n"


def publish_filters(declaration: Declaration) -> list[str]:
    """Return the topic filters that a component may publish to, its own state, warning and rejected messages included."""
    own = [stream.template.topic(component=name) for name in declaration.names for stream in (STATE, WARNING, REJECTED)]
    return [*(stream.template.filter for stream in declaration.publishes), *declaration.publishes_also, *own]


def access_file(declarations: Iterable[Declaration]) -> str:
    """Return the text of Mosquitto's access file. Clients without an account have the rights of the account `device`."""
    blocks = [_HEADER, _block(None, device_filters())]
    blocks += [_block(each.name, publish_filters(each)) for each in declarations]
    return "\n".join([*blocks, _block(DEVICE, device_filters())])


def _block(account: str | None, writable: Iterable[str]) -> str:
    head = [f"user {account}"] if account else []
    read = ["topic read #", "topic read $SYS/#"]
    return "\n".join([*head, *read, *(f"topic write {each}" for each in writable)]) + "\n"
