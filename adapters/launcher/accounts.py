"""Changing the accounts of the broker that `make up` starts on a data directory, in either runtime, while it runs or not.

The broker takes a change without a restart: it reads the access file and the password file again, and ends the connections
whose login no longer holds (docs/decisions/0011-accounts.md).
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

import msgspec

from adapters.client.declaration import OPERATOR
from adapters.client.errors import Failed, Refused, Unreachable, WrongUsage
from adapters.client.paho_bus import connected
from adapters.launcher import lifecycle
from adapters.launcher.compose import Compose
from adapters.launcher.registry import components
from adapters.launcher.runtime import own_broker
from broker.contract.roles import Role
from broker.errors import CannotStart, InvalidTopic
from broker.launch import mosquitto
from broker.launch.accounts import (
    Account,
    AccountError,
    check_name,
    locked,
    new_account,
    read_accounts,
    with_new_password,
    write_accounts,
)
from broker.launch.tls import AUTHORITY, ISSUED
from broker.runtime.settings import Settings

LONGEST_NAME_WITH_CERTIFICATE = 55
EFFECTIVE_LIMIT_S = 2.0
"""How long a running broker may take until a new login works."""


class Action(Enum):
    """What to do with an account."""

    ADD = "add"
    REMOVE = "remove"
    PASSWORD = "password"  # noqa: S105 - no password
    LIST = "list"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A wanted change of one account; to list them changes nothing."""

    action: Action
    name: str = ""
    role: Role = Role.DEVICE
    topics: tuple[str, ...] = ()
    certificate: bool = False
    """Of a device: log in with a certificate instead of a password."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a change: a new login, the list, or an error; `usage`: an error of the arguments."""

    password: str | None = None
    certificate: str | None = None
    """A private key and a certificate, as PEM. Then the password is not shown."""
    accounts: tuple[Account, ...] = ()
    error: str = ""
    fix: str = ""
    usage: bool = False


class Effect(Enum):
    """When a change counts."""

    NOW = "now"
    LATER = "later"
    """When the broker is started."""
    UNSEEN = "unseen"
    """The broker was reloaded, but did not accept the new login in time."""


def request(settings: Settings, change: Change) -> tuple[Outcome, Effect]:
    """Carry out a change where the data directory of the broker is, and let a running broker take it.

    Raises:
        WrongUsage: there can be no such account.
        Failed: there is such an account already, or none, or its broker is on another machine.
    """
    if not own_broker(settings):
        raise Failed(
            f"the broker at {settings.mqtt_host} belongs to another machine, and so do its accounts",
            "type the command there, or let SCAUP_MQTT_HOST name this machine",
        )
    runtime = lifecycle.choose_runtime(settings)
    if isinstance(runtime, Compose):
        outcome = msgspec.json.decode(runtime.change_account(msgspec.json.encode(change).decode()), type=Outcome)
    else:
        outcome = carry_out(settings.data_dir, change)
    if outcome.error:
        raise (WrongUsage if outcome.usage else Failed)(outcome.error, outcome.fix)
    if change.action is Action.LIST:
        return outcome, Effect.NOW
    if not runtime.reload_broker():
        return outcome, Effect.LATER
    works = outcome.password is None or _login_works(settings, change.name, outcome.password)
    return outcome, Effect.NOW if works else Effect.UNSEEN


def carry_out(data_dir: Path, change: Change) -> Outcome:
    """Carry out a change in the files of a data directory; what the broker reads follows if it was prepared before."""
    try:
        if change.action is Action.LIST:
            return Outcome(accounts=tuple(read_accounts(data_dir).values()))
        with locked(data_dir):
            known = read_accounts(data_dir)
            if change.certificate:
                _check_certificate(data_dir, change, known)
            password = _apply(known, change)
            write_accounts(data_dir, known.values())
            try:
                certificate = _certificate(data_dir, change)
            finally:
                if (data_dir / "broker").is_dir():
                    mosquitto.write_logins(data_dir, {**components(), OPERATOR.name: OPERATOR})
            return Outcome(password=password, certificate=certificate)
    except InvalidTopic as error:
        return Outcome(error=str(error), fix="see `scaup account add --help`", usage=True)
    except AccountError as error:
        return Outcome(error=str(error), fix=error.fix, usage=error.usage)
    except OSError as error:
        return Outcome(
            error=f"the accounts in {data_dir} cannot be changed: {error.strerror}",
            fix="use the user that `make up` was typed by, and see that the disk has room",
        )
    except CannotStart as error:
        return Outcome(error=f"the account is changed, but no certificate: {error}", fix="then type the command again")


def _check_certificate(data_dir: Path, change: Change, known: Mapping[str, Account]) -> None:
    """Refuse a certificate that could not be used to log in."""
    role = change.role if change.action is Action.ADD or change.name not in known else known[change.name].role
    if role is not Role.DEVICE:
        raise AccountError("certificates are for devices", "leave --certificate out", usage=True)
    if len(change.name) > LONGEST_NAME_WITH_CERTIFICATE:
        raise AccountError(f"{change.name!r} is too long for a certificate", "use at most 55 characters", usage=True)
    if not (data_dir / AUTHORITY).is_file():
        raise AccountError(
            "TLS is not set up, so no listener asks for certificates", "type `scaup tls init`, then `make down up`"
        )


def _certificate(data_dir: Path, change: Change) -> str | None:
    """Return a new certificate if one is wanted; one from before is revoked by every change of its account."""
    if not change.certificate and not (data_dir / ISSUED).is_file():
        return None
    from broker.launch import device_certificates  # cryptography takes 50 ms to import

    if change.certificate:
        return device_certificates.issue(data_dir, change.name)
    device_certificates.revoke(data_dir, change.name)
    return None


def _apply(known: dict[str, Account], change: Change) -> str | None:
    """Change the accounts, and return the new password."""
    name, now, account = change.name, datetime.now(UTC), known.get(change.name)
    if change.action is Action.ADD:
        if account is not None:
            raise AccountError(
                f"there is an account {name} already, with the role {account.role.value}",
                f"`scaup account password {name}` makes a new password; for another role, `scaup account remove {name}` first",
            )
        check_name(name, {each for declaration in components().values() for each in declaration.names})
        known[name], password = new_account(name, change.role, change.topics, now)
        return password
    if account is None:
        raise AccountError(f"there is no account {name!r}", "`scaup account list` shows them")
    if change.action is Action.REMOVE:
        del known[name]
        return None
    known[name], password = with_new_password(account, now)
    return password


def _login_works(settings: Settings, name: str, password: str) -> bool:
    """Wait until the broker accepts a login, and return whether it does in time."""
    address = replace(settings.broker_address(OPERATOR.name), username=name, password=password)
    until = datetime.now(UTC).timestamp() + EFFECTIVE_LIMIT_S
    while datetime.now(UTC).timestamp() < until:
        try:
            with connected(address):
                return True
        except Refused:
            continue
        except Unreachable:
            return False
    return False
