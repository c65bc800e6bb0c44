"""Changing accounts: in the files of a data directory, and what the broker reads of them."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.client.declaration import OPERATOR
from adapters.client.errors import Failed, WrongUsage
from adapters.launcher import accounts
from adapters.launcher.accounts import LONGEST_NAME_WITH_CERTIFICATE, Action, Change, Outcome, carry_out
from adapters.launcher.registry import components
from broker.contract.roles import Role
from broker.launch import device_certificates
from broker.launch.access import access_file
from broker.launch.accounts import Logins, read_accounts
from broker.launch.certificates import open_authority
from broker.launch.credentials import fits
from broker.launch.tls import certificate_users
from broker.mqtt.topics import covers
from broker.runtime.settings import Settings


def add(data_dir: Path, name: str, role: Role = Role.VIEWER, *topics: str) -> Outcome:
    return carry_out(data_dir, Change(action=Action.ADD, name=name, role=role, topics=topics))


def test_an_added_account_is_in_the_files_of_the_broker(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    password = add(tmp_path, "alice").password or ""
    lines = dict(line.split(":", 1) for line in (tmp_path / "broker" / "passwords").read_text().splitlines())
    assert fits(lines["alice"], password)
    assert "\nuser alice\n" in (tmp_path / "broker" / "access").read_text()
    assert Logins(tmp_path).verify("alice", password) is not None
    carry_out(tmp_path, Change(action=Action.REMOVE, name="alice"))
    assert "alice" not in (tmp_path / "broker" / "passwords").read_text() + (tmp_path / "broker" / "access").read_text()


def test_a_new_password_replaces_the_old_one(tmp_path: Path) -> None:
    first = add(tmp_path, "alice", Role.DEVICE, "/readings/a/#").password
    second = carry_out(tmp_path, Change(action=Action.PASSWORD, name="alice")).password
    logins = Logins(tmp_path)
    assert logins.verify("alice", first or "") is None
    found = logins.verify("alice", second or "")
    assert found is not None
    assert (found.role, found.topics) == (Role.DEVICE, ("/readings/a/#",))


def test_an_account_that_exists_is_not_added_again(tmp_path: Path) -> None:
    password = add(tmp_path, "alice").password or ""
    again = add(tmp_path, "alice", Role.ADMIN)
    assert (again.password, again.usage) == (None, False)
    assert "scaup account remove alice" in again.fix
    found = Logins(tmp_path).verify("alice", password)
    assert found is not None
    assert found.role is Role.VIEWER


@pytest.mark.parametrize("name", ["..", "a/b", "a\nuser operator", "heating", "charger-adapter", "operator", "a:b", "#", ""])
def test_no_file_changes_for_a_name_that_is_refused(tmp_path: Path, name: str) -> None:
    outcome = add(tmp_path, name, Role.ADMIN)
    assert outcome.usage
    assert outcome.fix
    assert read_accounts(tmp_path) == {}


def test_accounts_added_at_once_are_all_kept(tmp_path: Path) -> None:
    names = [f"device-{number}" for number in range(24)]
    threads = [threading.Thread(target=add, args=(tmp_path, name, Role.DEVICE)) for name in names]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(read_accounts(tmp_path)) == sorted(names)


def test_accounts_of_another_machine_are_not_changed_here(tmp_path: Path) -> None:
    settings = Settings.load({"SCAUP_DATA_DIR": str(tmp_path), "SCAUP_MQTT_HOST": "plant.example"})
    with pytest.raises(Failed, match="another machine"):
        accounts.request(settings, Change(action=Action.LIST))


def test_a_refused_change_is_an_error_with_its_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME", "native")
    settings = Settings.load({"SCAUP_DATA_DIR": str(tmp_path)})
    with pytest.raises(WrongUsage) as raised:
        accounts.request(settings, Change(action=Action.ADD, name="a", role=Role.DEVICE, topics=("#",)))
    assert "/readings/#" in raised.value.message
    with pytest.raises(Failed, match="no account"):
        accounts.request(settings, Change(action=Action.REMOVE, name="a"))


def test_a_component_is_not_denied_what_it_publishes() -> None:
    for each in components().values():
        text = access_file([*components().values(), OPERATOR]).split(f"user {each.name}\n")[1].split("user ")[0]
        denied = [line.removeprefix("topic deny ") for line in text.splitlines() if line.startswith("topic deny ")]
        written = [line.removeprefix("topic write ") for line in text.splitlines() if line.startswith("topic write ")]
        assert written
        assert not [(one, other) for one in denied for other in written if covers(other, one) or covers(one, other)]


def certificate(data_dir: Path, action: Action = Action.ADD, name: str = "room-1", role: Role = Role.DEVICE) -> Outcome:
    return carry_out(data_dir, Change(action=action, name=name, role=role, certificate=True))


def with_authority(data_dir: Path) -> Path:
    (data_dir / "broker").mkdir()
    open_authority(data_dir, datetime.now(UTC))
    return data_dir


def test_a_device_gets_a_certificate_with_its_rights(tmp_path: Path) -> None:
    pem = certificate(with_authority(tmp_path)).certificate or ""
    assert pem.count("-----BEGIN ") == 2
    user = certificate_users(tmp_path)["room-1"]
    assert f"user {user}\n" in (tmp_path / "broker" / "access").read_text()
    assert user not in (tmp_path / "broker" / "passwords").read_text()


@pytest.mark.parametrize("action", [Action.REMOVE, Action.PASSWORD])
def test_a_certificate_ends_with_its_account_or_a_password(tmp_path: Path, action: Action) -> None:
    certificate(with_authority(tmp_path))
    user = certificate_users(tmp_path)["room-1"]
    assert carry_out(tmp_path, Change(action=action, name="room-1")).certificate is None
    assert certificate_users(tmp_path) == {}
    assert user not in (tmp_path / "broker" / "access").read_text()


def test_certificates_are_for_devices_where_tls_is_set_up(tmp_path: Path) -> None:
    assert "scaup tls init" in certificate(tmp_path).fix
    with_authority(tmp_path)
    assert certificate(tmp_path, role=Role.VIEWER).usage
    assert LONGEST_NAME_WITH_CERTIFICATE == device_certificates.LONGEST_ACCOUNT
    assert certificate(tmp_path, name="a" * (LONGEST_NAME_WITH_CERTIFICATE + 1)).usage
    assert read_accounts(tmp_path) == {}
    add(tmp_path, "alice")
    assert certificate(tmp_path, Action.PASSWORD, "alice").error == "certificates are for devices"


def test_a_damaged_authority_does_not_keep_an_account(tmp_path: Path) -> None:
    certificate(with_authority(tmp_path))
    (tmp_path / "tls" / "ca.key").write_text("damaged")
    assert "the account is changed" in carry_out(tmp_path, Change(action=Action.REMOVE, name="room-1")).error
    assert "room-1" not in (tmp_path / "broker" / "access").read_text() + (tmp_path / "broker" / "passwords").read_text()
