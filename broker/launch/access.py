"""The broker's access file, generated from the declarations, the roles and the accounts."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from broker.contract import device_filters
from broker.contract.components.topics import REJECTED, STATE, WARNING
from broker.contract.roles import (
    STATISTICS,
    Rights,
    Role,
    anonymous_rights,
    answer_filters,
    answer_patterns,
    is_further,
    readable_filters,
    rights,
)
from broker.launch.accounts import Account
from broker.mqtt.topics import covers
from broker.runtime.declaration import Declaration

DEVICE = "device"
"""Account that devices share where anonymous access is off."""

DECLARED = "devices"
"""The component that joins declared devices: what it may do besides follows from the declarations (`declared.py`)."""

_MARK = "# what the declarations of devices name\n"
_HEADER = "# Made by Scaup from the components' declarations, the roles and the accounts: changes here are lost.\n"


def publish_filters(declaration: Declaration) -> list[str]:
    """Return the topic filters that a component may publish to, its own state, warning and rejected messages included."""
    own = [stream.template.topic(component=name) for name in declaration.names for stream in (STATE, WARNING, REJECTED)]
    return [*(stream.template.filter for stream in declaration.publishes), *declaration.publishes_also, *own]


def read_filters(declaration: Declaration) -> list[str]:
    """Return the topic filters that a component may read: what it subscribes to, its own state included."""
    own = [STATE.template.topic(component=name) for name in declaration.names]
    streams = [stream.template.filter for stream in declaration.subscribes]
    return list(dict.fromkeys([*streams, *declaration.subscribes_also, *declaration.reads, *own]))


def access_file(
    declarations: Iterable[Declaration], accounts: Iterable[Account] = (), certificates: Mapping[str, str] | None = None
) -> str:
    """Return the text of Mosquitto's access file.

    Clients without an account have the rights of the account `device`. A component has an account, too; an account with the
    same name, from before there was such a component, is left out. `certificates` has the user names of accounts' certificates:
    such a user has the rights of the account, and loses them with the certificate, also on a connection that is open.
    """
    known = list(declarations)
    people = [each for each in accounts if each.name not in {component.name for component in known}]
    further = further_filters(people)
    answered = {topic for each in known for topic in answers_of(each)}
    blocks = [_HEADER, _block(None, anonymous_rights())]
    blocks += [_block(each.name, _rights_of(each, answered, further)) for each in known]
    blocks.append(_block(DEVICE, anonymous_rights()))
    for each in people:
        allowed = rights(each.role, each.name, each.topics, further)
        blocks.append(_block(each.name, allowed))
        if certificates and each.name in certificates:
            own = (pattern.replace("%u", each.name) for pattern in answer_patterns())
            blocks.append(_block(certificates[each.name], replace(allowed, reads=(*allowed.reads, *own))))
    return "\n".join([*blocks, "".join(f"pattern read {each}\n" for each in answer_patterns())])


def with_declared(text: str, publishes: Iterable[str], reads: Iterable[str]) -> str:
    """Return the text of an access file with other rights of declared devices.

    Args:
        text: of an access file.
        publishes: topics that the declarations publish.
        reads: filters that they read.
    """
    head = f"user {DECLARED}\n"
    before, found, rest = text.partition(head)
    if not found:
        return text
    block, _, after = rest.partition("\n\n")
    own = block.partition(_MARK)[0].rstrip("\n")
    lines = [f"topic {kind} {each}\n" for kind, filters in (("read", reads), ("write", publishes)) for each in filters]
    added = "\n" + _MARK + "".join(lines).rstrip("\n") if lines else ""
    return f"{before}{head}{own}{added}\n\n{after}"


def further_filters(accounts: Iterable[Account]) -> tuple[str, ...]:
    """Return the filters of devices with topics that no system uses."""
    given = {each for account in accounts if account.role is Role.DEVICE for each in account.topics}
    return tuple(sorted(filter(is_further, given)))


def answers_of(declaration: Declaration) -> set[str]:
    """Return the topics of the answers that a component receives."""
    return {each for each in declaration.subscribes_also if any(covers(answer, each) for answer in answer_filters())}


def _rights_of(declaration: Declaration, answered: set[str], further: tuple[str, ...]) -> Rights:
    """Return what a component may do. Nothing is hidden from one that may publish it: a denial is of both."""
    publishes, reads = publish_filters(declaration), read_filters(declaration)
    if set(device_filters()) <= set(declaration.publishes_also):  # whatever devices publish
        publishes += further
    if declaration.role is None:
        return Rights(tuple(publishes), tuple(reads))
    reads += (*readable_filters(), *further, STATISTICS)
    hides = {each for each in answered - set(reads) if any(covers(wider, each) for wider in reads)}
    return Rights(tuple(publishes), tuple(dict.fromkeys(reads)), tuple(sorted(hides)))


def _block(account: str | None, allowed: Rights) -> str:
    head = [f"user {account}"] if account else []
    lines = [f"topic {kind} {each}" for kind, filters in _kinds(allowed) for each in filters]
    return "\n".join([*head, *lines]) + "\n"


def _kinds(allowed: Rights) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return ("deny", allowed.hides), ("read", allowed.reads), ("write", allowed.publishes)
