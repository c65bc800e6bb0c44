"""Accounts: names, the file, and logins checked against it."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broker.contract.roles import Role
from broker.errors import InvalidTopic
from broker.launch.accounts import (
    Account,
    AccountError,
    Logins,
    check_name,
    locked,
    new_account,
    read_accounts,
    write_accounts,
)
from broker.launch.credentials import create_passwords

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def made(data_dir: Path, *accounts: Account) -> None:
    with locked(data_dir):
        write_accounts(data_dir, accounts)


@pytest.mark.parametrize("name", ["alice", "room-1", "1", "a.b_c", "A" * 64, "Z9"])
def test_an_account_can_have_a_plain_name(name: str) -> None:
    check_name(name, ["heating"])


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a..b",
        "../x",
        "a/b",
        "a\nb",
        "a\n",
        "+",
        "a+",
        "#",
        "$SYS",
        "a:b",
        "a b",
        "-x",
        "%u",
        "%c",
        "büro",
        "A" * 65,
        "a\0",
    ],
)
def test_a_name_that_could_mean_something_else_is_refused(name: str) -> None:
    with pytest.raises(AccountError, match="cannot be the name") as raised:
        check_name(name, [])
    assert "letters" in raised.value.fix
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "name", ["heating", "Heating", "operator", "OPERATOR", "device", "anonymous", "web", "charger-adapter-2"]
)
def test_a_name_with_a_meaning_is_reserved(name: str) -> None:
    with pytest.raises(AccountError, match="reserved"):
        check_name(name, ["heating", "charger-adapter", "charger-adapter-2"])


def test_the_file_holds_hashes_for_its_owner_only(tmp_path: Path) -> None:
    account, password = new_account("alice", Role.VIEWER, ["/readings/#", "/readings/#"], NOW)
    made(tmp_path, account)
    path = tmp_path / "credentials" / "accounts.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert password not in path.read_text()
    assert read_accounts(tmp_path) == {"alice": account}
    assert account.topics == ("/readings/#",)
    assert len(password) > 40


def test_a_device_gets_no_topics_beyond_those_of_devices() -> None:
    with pytest.raises(InvalidTopic, match="more than a device may publish"):
        new_account("alice", Role.DEVICE, ["#"], NOW)


def test_only_the_right_name_with_its_password_logs_in(tmp_path: Path) -> None:
    create_passwords(tmp_path, ["heating", "operator"])
    alice, password = new_account("alice", Role.VIEWER, [], NOW)
    bob, other = new_account("bob", Role.DEVICE, [], NOW)
    made(tmp_path, alice, bob)
    logins = Logins(tmp_path)
    assert logins.verify("alice", password) == alice
    assert logins.verify("bob", other) == bob
    wrong = [
        ("alice", other),
        ("bob", password),
        ("alice", ""),
        ("", ""),
        ("nobody", password),
        ("alice", password + "\n"),
        ("../x", "y"),
    ]
    assert [each for each in wrong if logins.verify(*each) is not None] == []


def test_the_operator_logs_in_as_an_admin_and_components_not(tmp_path: Path) -> None:
    passwords = create_passwords(tmp_path, ["heating", "operator"])
    logins = Logins(tmp_path)
    operator = logins.verify("operator", passwords["operator"])
    assert operator is not None
    assert operator.role is Role.ADMIN
    assert logins.verify("operator", "") is None
    assert logins.verify("heating", passwords["heating"]) is None


def test_a_login_follows_every_change_of_the_accounts(tmp_path: Path) -> None:
    logins = Logins(tmp_path)
    alice, first = new_account("alice", Role.VIEWER, [], NOW)
    assert logins.verify("alice", first) is None
    made(tmp_path, alice)
    assert logins.verify("alice", first) == alice
    changed, second = new_account("alice", Role.OPERATOR, [], NOW)
    made(tmp_path, changed)
    assert (logins.verify("alice", first), logins.verify("alice", second)) == (None, changed)
    made(tmp_path)
    assert logins.verify("alice", second) is None


@pytest.mark.parametrize("text", ["", "{", '{"accounts": 5}', '{"accounts": [{"name": "alice", "role": "king"}]}', "\udcff"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "accounts.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(AccountError, match=r"accounts\.json is damaged"):
        Logins(tmp_path).verify("alice", "x")
