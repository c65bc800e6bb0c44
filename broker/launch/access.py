"""The broker's access file, generated from the declarations, the roles and the accounts."""

from collections.abc import Iterable

from broker.contract.components.topics import REJECTED, STATE, WARNING
from broker.contract.roles import Rights, Role, anonymous_rights, answer_patterns, is_further, rights
from broker.launch.accounts import Account
from broker.runtime.declaration import Declaration

DEVICE = "device"
"""Account that devices share where anonymous access is off."""

_HEADER = "# Made by Scaup from the components' declarations, the roles and the accounts: changes here are lost.\n"


def publish_filters(declaration: Declaration) -> list[str]:
    """Return the topic filters that a component may publish to, its own state, warning and rejected messages included."""
    own = [stream.template.topic(component=name) for name in declaration.names for stream in (STATE, WARNING, REJECTED)]
    return [*(stream.template.filter for stream in declaration.publishes), *declaration.publishes_also, *own]


def access_file(declarations: Iterable[Declaration], accounts: Iterable[Account] = ()) -> str:
    """Return the text of Mosquitto's access file.

    Clients without an account have the rights of the account `device`. A component has an account, too; an account with the
    same name, from before there was such a component, is left out.
    """
    known = list(declarations)
    people = [each for each in accounts if each.name not in {component.name for component in known}]
    further = further_filters(people)
    blocks = [_HEADER, _block(None, anonymous_rights())]
    blocks += [_block(each.name, _rights_of(each)) for each in known]
    blocks.append(_block(DEVICE, anonymous_rights()))
    blocks += [_block(each.name, rights(each.role, each.name, each.topics, further)) for each in people]
    return "\n".join([*blocks, "".join(f"pattern read {each}\n" for each in answer_patterns())])


def further_filters(accounts: Iterable[Account]) -> tuple[str, ...]:
    """Return the filters of devices with topics that no system uses."""
    given = {each for account in accounts if account.role is Role.DEVICE for each in account.topics}
    return tuple(sorted(filter(is_further, given)))


def _rights_of(declaration: Declaration) -> Rights:
    return Rights(tuple(publish_filters(declaration)), ("#", "$SYS/#"))


def _block(account: str | None, allowed: Rights) -> str:
    head = [f"user {account}"] if account else []
    lines = [f"topic {kind} {each}" for kind, filters in _kinds(allowed) for each in filters]
    return "\n".join([*head, *lines]) + "\n"


def _kinds(allowed: Rights) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return ("deny", allowed.hides), ("read", allowed.reads), ("write", allowed.publishes)
