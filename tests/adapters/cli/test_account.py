"""`scaup account`: what it prints, and its exit codes; its work is tested in `tests/adapters/launcher/test_accounts.py`."""

import json
from pathlib import Path

import pytest

from broker.contract.roles import Role
from broker.launch.accounts import Logins, read_accounts
from broker.runtime.settings import Settings
from tests.adapters.cli.conftest import Scaup


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCAUP_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("RUNTIME", "native")
    return tmp_path


def test_add_prints_the_password_alone_and_once(scaup: Scaup, data_dir: Path) -> None:
    result = scaup("account", "add", "office", "--role", "device", "--topics", "/readings/a/#", "--topics", "press/#")
    assert result.exit_code == 0
    password = result.stdout.removesuffix("\n")
    found = Logins(data_dir).verify("office", password)
    assert found is not None
    assert (found.role, found.topics) == (Role.DEVICE, ("/readings/a/#", "press/#"))
    assert "make up" in result.stderr
    assert password not in result.stderr
    assert not [path for path in data_dir.rglob("*") if path.is_file() and password in path.read_text()]


def test_list_shows_accounts_without_passwords(scaup: Scaup) -> None:
    scaup("account", "add", "office", "--role", "device")
    scaup("account", "add", "carol", "--role", "admin")
    result = scaup("account", "list", "-o", "json")
    assert [(each["name"], each["role"]) for each in json.loads(result.stdout)] == [("carol", "admin"), ("office", "device")]
    assert "$7$" not in result.stdout


def test_password_makes_another_one_and_remove_ends_both(scaup: Scaup, data_dir: Path) -> None:
    first = scaup("account", "add", "office", "--role", "viewer").stdout.strip()
    second = scaup("account", "password", "office").stdout.strip()
    logins = Logins(data_dir)
    assert (logins.verify("office", first) is None, logins.verify("office", second) is None) == (True, False)
    removed = scaup("account", "remove", "office")
    assert (removed.exit_code, removed.stdout) == (0, "")
    assert logins.verify("office", second) is None


@pytest.mark.parametrize(
    ("words", "exit_code", "text"),
    [
        (["add", "..", "--role", "viewer"], 2, "letters of a to z"),
        (["add", "a/b", "--role", "viewer"], 2, "letters of a to z"),
        (["add", "a\nb", "--role", "viewer"], 2, "letters of a to z"),
        (["add", "", "--role", "viewer"], 2, "letters of a to z"),
        (["add", "recorder", "--role", "viewer"], 2, "reserved"),
        (["add", "x", "--role", "king"], 2, "device"),
        (["add", "x"], 2, "--role"),
        (["add", "x", "--role", "device", "--topics", "#"], 2, "/readings/#"),
        (["add", "x", "--role", "device", "--topics", "a+/b"], 2, "whole level"),
        (["add", "x", "--role", "viewer", "--topics", "$SYS/#"], 2, "$"),
        (["add", "x", "--role", "admin", "--topics", "a/#"], 2, "devices and viewers"),
        (["add", "there", "--role", "admin"], 1, "scaup account password there"),
        (["remove", "x"], 1, "scaup account list"),
        (["password", "x"], 1, "scaup account list"),
    ],
)
def test_a_mistake_names_its_fix_and_prints_no_password(scaup: Scaup, words: list[str], exit_code: int, text: str) -> None:
    scaup("account", "add", "there", "--role", "viewer")
    result = scaup("account", *words)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert text in result.stderr
    assert "Traceback" not in result.stderr


def test_a_folder_that_cannot_be_written_is_an_error(scaup: Scaup, data_dir: Path) -> None:
    (data_dir / "credentials").write_text("a file, not a folder")
    result = scaup("account", "add", "office", "--role", "device")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot be changed" in result.stderr


@pytest.mark.parametrize("command", [["account", "list"], ["account", "add", "office", "--role", "device"], ["up"]])
def test_damaged_accounts_are_an_error_of_every_command(scaup: Scaup, data_dir: Path, command: list[str]) -> None:
    (data_dir / "credentials").mkdir()
    (data_dir / "credentials" / "accounts.json").write_text("{")

    def start(_settings: Settings) -> str:
        read_accounts(data_dir)
        return ""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adapters.launcher.lifecycle.start", start)
        result = scaup(*command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "accounts.json is damaged" in result.stderr
    assert "backup" in result.stderr
