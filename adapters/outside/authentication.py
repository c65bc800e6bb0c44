"""Authentication of clients beyond this machine: who they are, why they are refused, and what they may do."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

from adapters.outside.attempts import Attempts
from adapters.outside.basic import CHALLENGE, NoLogin, credentials
from broker.contract.roles import Role, rights
from broker.launch.accounts import Account, AccountError
from broker.log import Log
from broker.mqtt.topics import matches

log = Log(__name__)

REPORT_S = 60.0


class Accounts(Protocol):
    """The broker's accounts: `broker.launch.accounts.Logins`."""

    def verify(self, name: str, password: str) -> Account | None:
        """Return the account with this name and password; the time that takes does not depend on which of them is wrong."""
        ...

    def is_current(self, account: Account) -> bool:
        """Return whether the account still has the same password and rights."""
        ...

    def version(self) -> tuple[object, ...]:
        """Return a value that is another one after every change of the accounts."""
        ...


@dataclass(frozen=True, slots=True)
class Refused:
    """A client that is refused: HTTP status, text for people, further headers of the answer."""

    status: int
    text: str
    headers: dict[str, str] = field(default_factory=dict)


class RemoteClient:
    """A connection from another machine, and the account that has logged in on it."""

    __slots__ = ("account", "address", "authorization")

    def __init__(self, address: str) -> None:
        self.address = address
        self.account: Account | None = None
        self.authorization = ""
        """Value of the header with which that account logged in."""


class Authenticator:
    """Checks the login of every request of all remote clients."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts, self._attempts = accounts, Attempts()
        self._wrong, self._report_at_s = 0, 0.0

    def login(self, remote: RemoteClient, authorization: Sequence[str], now_s: float) -> Account | Refused:
        """Return the account of a request, and note it on the connection.

        Requests with the login that their connection already has are not hashed again, and not limited.

        Args:
            remote: the connection.
            authorization: values of all `Authorization` headers.
            now_s: of a clock that never goes back.
        """
        if self.is_current(remote) and len(authorization) == 1 and _same(authorization[0], remote.authorization):
            return remote.account  # type: ignore[return-value] # `is_current`
        remote.account = None
        try:
            name, password = credentials(authorization)
        except NoLogin as error:
            return Refused(HTTPStatus.UNAUTHORIZED, str(error), {"WWW-Authenticate": CHALLENGE})
        if wait_s := self._attempts.wait_s(name, remote.address, now_s):
            retry = {"Retry-After": str(int(wait_s) + 1)}
            return Refused(HTTPStatus.TOO_MANY_REQUESTS, f"too many wrong logins: try again in {wait_s:.0f} s", retry)
        try:
            account = self._accounts.verify(name, password)
        except AccountError as error:
            log.error("logins-refused", "logins from other machines are refused: %(error)s", error=error)
            return Refused(HTTPStatus.SERVICE_UNAVAILABLE, "the accounts cannot be read: the log of this component says more")
        if account is None:
            self._attempts.wrong(name, remote.address, now_s)
            self._report_wrong(name, remote.address, now_s)
            return Refused(HTTPStatus.UNAUTHORIZED, "name or password is wrong", {"WWW-Authenticate": CHALLENGE})
        self._attempts.right(name, remote.address)
        remote.account, remote.authorization = account, authorization[0]
        return account

    def _report_wrong(self, name: str, address: str, now_s: float) -> None:
        """Log wrong logins, once a minute at most: clients must not be able to fill the log."""
        self._wrong += 1
        if now_s >= self._report_at_s:
            self._report_at_s = now_s + REPORT_S
            log.warning(
                "logins-wrong",
                "%(count)d wrong logins, the last of %(name)r from %(address)s",
                count=self._wrong,
                name=name[:64],
                address=address,
            )
            self._wrong = 0

    def is_current(self, remote: RemoteClient) -> bool:
        """Return whether the account with which a remote client has logged in still has the same password and rights."""
        return remote.account is not None and self.knows(remote.account)

    def verify(self, name: str, password: str) -> Account | None:
        """Return the account with this name and password, without a limit on attempts; None if there is none."""
        try:
            return self._accounts.verify(name, password)
        except AccountError:
            return None

    def knows(self, account: Account) -> bool:
        """Return whether an account still has the same password and rights."""
        try:
            return self._accounts.is_current(account)
        except AccountError:
            return False

    def version(self) -> tuple[object, ...]:
        """Return a value that is another one after every change of the accounts."""
        return self._accounts.version()


def may_read(account: Account, topic: str) -> bool:
    """Return whether an account may get what came from a topic: viewers that were given topics may get those only."""
    if account.role is Role.VIEWER:
        return any(matches(each, topic) for each in rights(account.role, account.name, account.topics).reads)
    return account.role in (Role.OPERATOR, Role.ADMIN)


def may_query(account: Account) -> bool:
    """Return whether an account may query the recording in SQL."""
    return account.role in (Role.OPERATOR, Role.ADMIN)


def may_publish(account: Account, topic: str) -> bool:
    """Return whether what an account posts may go to a topic: a device's own, or any for operators and administrators."""
    if account.role in (Role.OPERATOR, Role.ADMIN):
        return True
    return any(matches(each, topic) for each in rights(account.role, account.name, account.topics).publishes)


def may_be(account: Account, client: str) -> bool:
    """Return whether an account may connect as a charger or widget: the device of that name, operators and administrators."""
    return account.role in (Role.OPERATOR, Role.ADMIN) or (account.role is Role.DEVICE and account.name == client)


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
