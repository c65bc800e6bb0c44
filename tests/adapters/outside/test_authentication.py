"""Logins without sockets: what is verified, what is remembered, and what each role may."""

import base64
from datetime import UTC, datetime

import pytest

from adapters.outside.attempts import PAIR
from adapters.outside.authentication import (
    Authenticator,
    Refused,
    RemoteClient,
    may_be,
    may_publish,
    may_query,
    may_read,
)
from broker.contract.roles import Role
from broker.launch.accounts import Account, AccountError

BOTH = ["energy/7/raw", "energy/8/raw"]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def account(name: str, role: Role = Role.VIEWER, *topics: str) -> Account:
    return Account(name=name, role=role, topics=topics, password_hash="", made_at=NOW, changed_at=NOW)


class FakeAccounts:
    """Accounts whose password is `right`."""

    def __init__(self) -> None:
        self.known = {"vera": account("vera")}
        self.verified, self.damaged = 0, False

    def verify(self, name: str, password: str) -> Account | None:
        self.verified += 1
        if self.damaged:
            raise AccountError("accounts.json is damaged", "restore it")
        return self.known.get(name) if password == "right" else None

    def is_current(self, account: Account) -> bool:
        if self.damaged:
            raise AccountError("accounts.json is damaged", "restore it")
        return self.known.get(account.name) == account

    def version(self) -> tuple[object, ...]:
        return ()


def header(name: str, password: str) -> list[str]:
    return [f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"]


def status(found: Account | Refused) -> int:
    return found.status if isinstance(found, Refused) else 200


def test_a_busy_connection_is_verified_once() -> None:
    accounts, remote = FakeAccounts(), RemoteClient("192.0.2.1")
    authenticator = Authenticator(accounts)
    assert [status(authenticator.login(remote, header("vera", "right"), 0.0)) for _ in range(1_000)] == [200] * 1_000
    assert accounts.verified == 1
    assert status(authenticator.login(remote, header("vera", "right") * 2, 0.0)) == 401
    assert status(authenticator.login(remote, header("vera", "right "), 0.0)) == 401
    assert status(authenticator.login(remote, header("vera", "right"), 0.0)) == 200
    assert accounts.verified == 3


def test_a_connection_that_logged_in_goes_on_beside_a_guesser() -> None:
    authenticator, remote = Authenticator(FakeAccounts()), RemoteClient("192.0.2.1")
    assert status(authenticator.login(remote, header("vera", "right"), 0.0)) == 200
    guesser = RemoteClient("192.0.2.1")
    found = [status(authenticator.login(guesser, header("vera", f"{number}"), 0.0)) for number in range(100)]
    assert found == [401] * PAIR.burst + [429] * (100 - PAIR.burst)
    assert status(authenticator.login(remote, header("vera", "right"), 0.0)) == 200
    assert status(authenticator.login(RemoteClient("192.0.2.2"), header("vera", "right"), 0.0)) == 200


def test_wrong_logins_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    authenticator = Authenticator(FakeAccounts())
    for number in range(40):
        remote, now_s = RemoteClient(f"192.0.2.{number}"), 61.0 if number == 39 else 1.0
        authenticator.login(remote, header("a'b" * 100, "wrong"), now_s)
        authenticator.login(remote, header("vera", "wrong"), now_s)
    assert [each.getMessage()[:16] for each in caplog.records] == ["1 wrong logins, ", "78 wrong logins,"]
    assert all(len(each.getMessage()) < 130 for each in caplog.records)


def test_no_login_is_no_wrong_login() -> None:
    authenticator, remote = Authenticator(FakeAccounts()), RemoteClient("192.0.2.1")
    assert {status(authenticator.login(remote, [], 0.0)) for _ in range(1_000)} == {401}
    assert status(authenticator.login(remote, header("vera", "right"), 0.0)) == 200


def test_damaged_accounts_admit_no_one() -> None:
    accounts, remote = FakeAccounts(), RemoteClient("192.0.2.1")
    authenticator = Authenticator(accounts)
    assert status(authenticator.login(remote, header("vera", "right"), 0.0)) == 200
    accounts.damaged = True
    assert not authenticator.is_current(remote)
    assert status(authenticator.login(remote, header("vera", "right"), 0.0)) == 503


@pytest.mark.parametrize(
    ("who", "reads", "publishes", "is_charger", "queries"),
    [
        (account("7", Role.DEVICE), [], ["energy/7/raw"], ["7"], False),
        (account("gate", Role.DEVICE, "energy/+/raw"), [], BOTH, ["gate"], False),
        (account("vera"), BOTH, [], [], False),
        (account("part", Role.VIEWER, "energy/7/#"), ["energy/7/raw"], [], [], False),
        (
            account("otto", Role.OPERATOR),
            BOTH,
            BOTH,
            ["7", "gate"],
            True,
        ),
        (account("ada", Role.ADMIN), BOTH, BOTH, ["7", "gate"], True),
    ],
)
def test_roles_may(who: Account, reads: list[str], publishes: list[str], is_charger: list[str], queries: bool) -> None:
    assert [each for each in BOTH if may_read(who, each)] == reads
    assert [each for each in BOTH if may_publish(who, each)] == publishes
    assert [each for each in ("7", "gate") if may_be(who, each)] == is_charger
    assert may_query(who) is queries
