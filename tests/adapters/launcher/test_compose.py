"""The container runtime: what it refuses, publishes and reports."""

import json
import subprocess
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from adapters.client.errors import Failed
from adapters.launcher import accounts, compose, preflight
from adapters.launcher.__main__ import steps
from adapters.launcher.checks import Verdict
from adapters.launcher.compose import Compose, published_ports
from broker.contract.roles import Role
from broker.launch import certificates, mosquitto
from broker.launch.accounts import Logins
from broker.runtime.settings import Settings, read_password


def published(folder: Path, monkeypatch: pytest.MonkeyPatch, service: str = "broker", **variables: str) -> list[str]:
    monkeypatch.setattr(mosquitto, "has_ipv6", lambda: True)
    settings = Settings.load({"SCAUP_DATA_DIR": str(folder), "SCAUP_MQTT_PORT": "21883", **variables})
    ports = json.loads(published_ports(settings, Compose(settings=settings, components=())._listeners))["services"]
    return [str(each) for each in ports[service]["ports"]] if service in ports else []


def test_further_addresses_are_published_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = published(tmp_path, monkeypatch, SCAUP_MQTT_WS_PORT="29001")
    assert ports == ["[::1]:21883:1883", "127.0.0.1:29001:9001", "[::1]:29001:9001"]


def test_only_tls_is_published_to_other_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = published(tmp_path, monkeypatch, SCAUP_BIND="192.0.2.7", SCAUP_MQTT_WS_PORT="29001", SCAUP_MQTT_TLS_PORT="28883")
    assert [each for each in ports if each.startswith("192.0.2.7")] == [
        "192.0.2.7:28883:8883",
        "192.0.2.7:8884:8884",
        "192.0.2.7:29001:9002",
    ]
    assert "127.0.0.1:29001:9001" in ports


@pytest.mark.parametrize(
    ("bind", "expected"),
    [("192.0.2.7,[2001:db8::7]", ["192.0.2.7:5000:15000", "[2001:db8::7]:5000:15000"]), ("127.0.0.1", [])],
)
def test_http_is_published_to_other_machines_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bind: str, expected: list[str]
) -> None:
    assert published(tmp_path, monkeypatch, "machine-api", SCAUP_BIND=bind) == expected
    assert published(tmp_path, monkeypatch, "sim-torque-driver", SCAUP_BIND=bind) == []


def test_plain_text_is_published_where_it_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mosquitto, "has_ipv6", lambda: True)
    settings = Settings.load({"SCAUP_DATA_DIR": str(tmp_path), "SCAUP_BIND": "0.0.0.0", "SCAUP_PLAINTEXT": "yes"})
    first, *others = Compose(settings=settings, components=())._listeners
    assert (first.address, first.kind) == ("0.0.0.0", 1883)
    assert {each.kind for each in others} <= {1883}


def test_volume_is_prepared_for_every_account(tmp_path: Path) -> None:
    compose.prepare_volume(Settings.load({"SCAUP_DATA_DIR": str(tmp_path)}))
    configuration = (tmp_path / "broker" / "mosquitto.conf").read_text()
    assert "\nlistener 1883\n" in configuration
    assert "allow_anonymous true" in configuration
    login = tmp_path / "broker" / "mosquitto_sub"
    assert login.read_text() == f"-u operator\n-P {read_password(tmp_path, 'operator')}\n"
    assert login.stat().st_mode & 0o077 == 0
    assert read_password(tmp_path, "operator")


def test_volume_of_an_open_port_has_tls_with_accounts(tmp_path: Path) -> None:
    settings = Settings.load({"SCAUP_DATA_DIR": str(tmp_path), "SCAUP_BIND": "0.0.0.0", "SCAUP_HOST_NAMES": "plant.example"})
    compose.prepare_volume(settings)
    plain, secure = (tmp_path / "broker" / "mosquitto.conf").read_text().split("\n\n")[1:3]
    assert plain.startswith("listener 1883\nmax_connections 8000\nallow_anonymous true")
    assert secure.startswith("listener 8883\nmax_connections 8000\ncertfile tls/server.pem")
    assert "allow_anonymous false" in secure
    assert read_password(tmp_path, "device")
    made = certificates.served(settings)
    assert made is not None
    assert made.names[:2] == ("plant.example", "localhost")


def test_volume_of_a_plain_open_port_requires_accounts(tmp_path: Path) -> None:
    open_to_all = {"SCAUP_BIND": "0.0.0.0", "SCAUP_PLAINTEXT": "yes"}
    compose.prepare_volume(Settings.load({"SCAUP_DATA_DIR": str(tmp_path), **open_to_all}))
    assert "allow_anonymous false" in (tmp_path / "broker" / "mosquitto.conf").read_text()
    assert not (tmp_path / "tls").exists()
    assert read_password(tmp_path, "device")


def test_remote_broker_needs_the_native_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    settings = Settings.load({"SCAUP_DATA_DIR": str(tmp_path), "SCAUP_MQTT_HOST": "plant.example"})
    with pytest.raises(Failed, match=r"plant\.example") as caught:
        Compose(settings=settings, components=()).start({})
    assert "RUNTIME=native" in caught.value.fix


@pytest.mark.parametrize(
    "text",
    [
        '{"Service":"broker","Name":"scaup-broker-1"}\n{"Service":"heating","Name":"scaup-heating-1"}\n',
        '[{"Service":"broker","Name":"scaup-broker-1"},{"Service":"heating","Name":"scaup-heating-1"}]',
    ],
)
def test_containers_of_old_and_new_compose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    made = Compose(settings=Settings.load({"SCAUP_DATA_DIR": str(tmp_path)}), components=("heating",))
    monkeypatch.setattr(Compose, "_compose", lambda *_, **__: text)
    assert made._containers() == {"broker": "scaup-broker-1", "heating": "scaup-heating-1"}


@pytest.mark.parametrize(
    ("before", "after", "reloads"),
    [
        pytest.param("b1", "b1", True, id="runs on"),
        pytest.param("b1", "b2", False, id="created again"),
        pytest.param(None, "b1", False, id="started"),
    ],
)
def test_only_a_broker_that_runs_on_is_reloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None, after: str, reloads: bool
) -> None:
    called: list[tuple[str, ...]] = []

    def compose_command(_self: Compose, *words: str, **_given: object) -> str:
        called.append(words)
        found = after if any(each[0] == "up" for each in called) else before
        row = {"Service": "broker", "Name": "scaup-broker-1", "ID": found}
        return json.dumps([row] if found else []) if words[0] == "ps" else ""

    monkeypatch.setattr(Compose, "_compose", compose_command)
    monkeypatch.setattr(Compose, "_check", lambda _self: None)
    monkeypatch.setattr(Compose, "_wait_for_broker", lambda _self: {})
    monkeypatch.setattr(preflight, "check_ports", lambda *_: None)
    Compose(settings=Settings.load({"SCAUP_DATA_DIR": str(tmp_path)}), components=()).start({})
    assert (("kill", "--signal", "HUP", "broker") in called) is reloads


def test_backup_runs_in_a_container_that_has_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def run(_self: Compose, *words: str, **_: object) -> str:
        asked.append(words)
        return "backed up\n"

    monkeypatch.setattr(Compose, "_compose", run)
    made = Compose(settings=Settings.load({"SCAUP_DATA_DIR": str(tmp_path)}), components=("recorder",))
    assert made.run_with_folder(tmp_path / "backup", ["backup", "--check"], read_only=False) == "backed up\n"
    assert made.run_with_folder(tmp_path / "backup", ["restore"], read_only=True) == "backed up\n"
    start = ("run", "--rm", "--no-deps", "-T", "--volume")
    assert asked == [
        (*start, f"{tmp_path}/backup:/backup", "recorder", "scaup", "backup", "/backup", "--check"),
        (*start, f"{tmp_path}/backup:/backup:ro", "recorder", "scaup", "restore", "/backup"),
    ]


def test_restore_has_a_broker_beside_it_for_retained_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    removed: list[list[str]] = []

    def run(_self: Compose, *words: str, **_: object) -> str:
        asked.append(words)
        return "scaup-broker-run-1\n"

    monkeypatch.setattr(Compose, "_check", lambda _self: None)
    monkeypatch.setattr(Compose, "_compose", run)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: removed.append(command))
    Compose(settings=Settings.load({"SCAUP_DATA_DIR": str(tmp_path)}), components=()).restore(tmp_path)
    build, owner, broker, restore = asked
    assert build == ("build", "setup")
    assert owner[-2:] == ("setup", "true")
    assert broker[:4] == ("run", "--detach", "--no-deps", "broker")
    assert f"--env={compose.NEIGHBOUR}=/data/restoring/retained.conf" in restore
    assert removed[0][1:] == ["rm", "--force", "--volumes", "scaup-broker-run-1"]


@pytest.mark.parametrize(
    ("written", "message", "fix"),
    [
        ("Error: /data is not empty, it has scaup.duckdb\nFix: name another", "scaup_data is not empty", "docker volume rm"),
        ("Creating\nError: /backup is damaged\nFix: copy /backup again", "^{folder} is damaged$", "copy {folder} again"),
        ("Usage: scaup\n\nError: '/backup' is not readable.", "is not readable", "sudo chown -R 1883:1883 {folder}"),
    ],
)
def test_error_of_a_container_has_the_fix_for_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, message: str, fix: str
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise Failed(f"docker compose run failed:\n{written}", "see the text above")

    monkeypatch.setattr(Compose, "_compose", fail)
    made = Compose(settings=Settings.load({"SCAUP_DATA_DIR": str(tmp_path)}), components=())
    with pytest.raises(Failed, match=message.format(folder=tmp_path)) as caught:
        made.run_with_folder(tmp_path, ["restore"], read_only=True)
    assert fix.format(folder=tmp_path) in caught.value.fix


def test_failed_build_shows_its_last_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise Failed("\n".join([*(f"line {n}" for n in range(100)), "npm error SELF_SIGNED_CERT_IN_CHAIN"]), "")

    monkeypatch.setattr(Compose, "_check", lambda _self: None)
    monkeypatch.setattr(Compose, "_compose", fail)
    with pytest.raises(Failed, match=r"line 99\nnpm error SELF_SIGNED") as caught:
        Compose(settings=Settings.load({"SCAUP_DATA_DIR": str(tmp_path)}), components=()).build()
    assert "line 10\n" not in caught.value.message
    assert "package indexes" in caught.value.fix


@pytest.mark.parametrize("call", ["build", "running"])
def test_no_container_engine_names_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    written = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
    monkeypatch.setattr(Compose, "_check", lambda _self: None)
    monkeypatch.setattr("subprocess.run", lambda command, **_: subprocess.CompletedProcess(command, 1, "", written))
    with pytest.raises(Failed, match="Cannot connect") as caught:
        getattr(Compose(settings=Settings.load({"SCAUP_DATA_DIR": str(tmp_path)}), components=()), call)()
    assert "RUNTIME=native" in caught.value.fix


def test_failed_migration_in_a_container_names_the_way_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_self: Compose, *words: str, **_: object) -> str:
        assert words[-3:] == ("python", "-m", "storage.database.upgrade")
        raise Failed("docker compose run failed:\nmigration 7 failed", "see the text above")

    monkeypatch.setattr(Compose, "_compose", fail)
    made = Compose(settings=Settings.load({"SCAUP_DATA_DIR": str(tmp_path)}), components=("recorder",))
    with pytest.raises(Failed, match="migration 7 failed") as caught:
        made._migrate({})
    assert "go back" in caught.value.fix


def test_account_changes_on_the_volume_and_the_broker_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, ...]] = []
    outcome = accounts.Outcome(password="secret")

    def compose_command(_self: Compose, *words: str, **_given: object) -> str:
        called.append(words)
        if words[0] == "ps":
            return '{"Service":"broker","Name":"scaup-broker-1"}\n'
        return msgspec.json.encode(outcome).decode() if words[0] == "run" else ""

    monkeypatch.setenv("RUNTIME", "docker")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(Compose, "_compose", compose_command)
    monkeypatch.setattr(accounts, "_login_works", lambda *_: True)
    settings = Settings.load({"SCAUP_DATA_DIR": str(tmp_path)})
    change = accounts.Change(action=accounts.Action.ADD, name="office", role=Role.DEVICE)
    assert accounts.request(settings, change) == (outcome, accounts.Effect.NOW)
    (run,) = [words for words in called if words[0] == "run"]
    assert run[-5:-1] == ("python", "-m", "adapters.launcher", "account")
    assert msgspec.json.decode(run[-1], type=accounts.Change) == change
    assert ("kill", "--signal", "HUP", "broker") in called
    assert not (tmp_path / "credentials").exists()
    outcome = accounts.Outcome(error="there is none", fix="add it")
    with pytest.raises(Failed, match="there is none"):
        accounts.request(settings, change)


def test_a_step_in_a_container_answers_in_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCAUP_DATA_DIR", str(tmp_path))
    change = msgspec.json.encode(accounts.Change(action=accounts.Action.ADD, name="office")).decode()
    result = CliRunner().invoke(steps, ["account", change])
    outcome = msgspec.json.decode(result.stdout, type=accounts.Outcome)
    assert outcome.password
    assert Logins(tmp_path).verify("office", outcome.password) is not None


@pytest.mark.parametrize(("runs", "command"), [(True, ("exec", "-T", "recorder")), (False, ("run", "--rm", "--no-deps"))])
def test_the_running_release_changes_accounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: bool, command: tuple[str, ...]
) -> None:
    asked: list[tuple[str, ...]] = []

    def run(_self: Compose, *words: str, **_: object) -> str:
        asked.append(words)
        return "{}"

    monkeypatch.setattr(Compose, "_check", lambda _self: None)
    monkeypatch.setattr(Compose, "_containers", lambda _self, *_: {"recorder": "scaup-recorder-1"} if runs else {})
    monkeypatch.setattr(Compose, "_compose", run)
    Compose(settings=Settings.load({"SCAUP_DATA_DIR": str(tmp_path)}), components=()).change_account("{}")
    assert asked[-1][:3] == command
    assert asked[-1][-2:] == ("account", "{}")
    assert ("build", "setup") not in asked or not runs


def test_files_on_the_volume_are_checked_in_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compose.prepare_volume(Settings.load({"SCAUP_DATA_DIR": str(tmp_path)}))
    monkeypatch.setenv("SCAUP_DATA_DIR", str(tmp_path))
    printed = CliRunner().invoke(steps, ["check"]).stdout
    monkeypatch.setattr(Compose, "_compose", lambda *_, **__: printed)
    found = Compose(settings=Settings.load({"SCAUP_DATA_DIR": str(tmp_path / "host")}), components=()).check_volume([])
    assert [each.check for each in found if each.verdict is not Verdict.OK] == []
    assert {"accounts", "access file", "broker settings", "client ids"} <= {each.check for each in found}
