"""status, config, run, completion."""

import json
import sys
from types import ModuleType

import click
import pytest
from click.shell_completion import ShellComplete

from adapters.cli.commands import config
from adapters.cli.main import cli
from adapters.client.session import Session
from adapters.launcher.registry import components
from tests.adapters.cli.conftest import Scaup
from tests.adapters.client.fakes import FakeBus, FakeRecorder, FakeSession


@pytest.fixture
def all_online(bus: FakeBus) -> FakeBus:
    for name in components():
        bus.retain(f"components/{name}/state", f'{{"state":"online","boot":"boot-of-{name}","version":"0.1.0"}}')
    bus.retain("$SYS/broker/version", "mosquitto version 2.0.11")
    return bus


def states(text: str) -> dict[str, str]:
    return {each["component"]: each["state"] for each in map(json.loads, text.splitlines())}


def test_everything_is_online(scaup: Scaup, all_online: FakeBus) -> None:
    result = scaup("status")
    assert result.exit_code == 0
    assert states(result.stdout) == dict.fromkeys(["broker", *components()], "online")
    assert "mosquitto version 2.0.11" in result.stdout


@pytest.mark.parametrize("state", ["offline", "nonsense"])
def test_one_offline_component_makes_the_answer_no(scaup: Scaup, all_online: FakeBus, state: str) -> None:
    all_online.retain("components/recorder/state", f'{{"state":"{state}","boot":"b","version":"1"}}')
    result = scaup("status")
    assert result.exit_code == 1
    assert states(result.stdout)["recorder"] == ("offline" if state == "offline" else "unknown")
    assert scaup("status", "recorder").exit_code == 1
    assert scaup("status", "heating").exit_code == 0
    assert scaup("status", "broker").exit_code == 0


def test_a_component_never_online_is_unknown(scaup: Scaup, bus: FakeBus) -> None:
    bus.kept.clear()
    result = scaup("status", "heating")
    assert (result.exit_code, states(result.stdout)) == (1, {"heating": "unknown"})


def test_an_undeclared_component_is_shown_but_not_required(scaup: Scaup, all_online: FakeBus) -> None:
    all_online.retain("components/visitor/state", '{"state":"offline","boot":"b","version":"1"}')
    result = scaup("status")
    assert result.exit_code == 0
    assert states(result.stdout)["visitor"] == "offline"


@pytest.mark.parametrize("columns", [80, 200])
def test_table_fits_the_terminal(scaup: Scaup, all_online: FakeBus, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = scaup("status", "-o", "table").stdout.splitlines()
    assert max(map(len, lines)) <= columns
    assert not any("boot-of" in line or "…" in line for line in lines)
    for name, declaration in components().items():
        assert any(line.startswith(f"{name} ") and "online" in line and declaration.summary in line for line in lines)


def test_json_has_boots_and_places(scaup: Scaup, all_online: FakeBus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.launcher.lifecycle.places", lambda _: {"heating": "pid 7"})
    (row,) = map(json.loads, scaup("status", "heating").stdout.splitlines())
    assert (row["boot"], row["version"], row["where"]) == ("boot-of-heating", "0.1.0", "pid 7")


def test_no_broker(scaup: Scaup) -> None:
    result = scaup("status", session=FakeSession(None))
    assert result.exit_code == 3
    assert "make up" in result.stderr


def test_an_unknown_name_is_answered_with_the_list(scaup: Scaup) -> None:
    for command in ("status", "run"):
        result = scaup(command, "heatin")
        assert result.exit_code == 2
        assert "heating" in result.stderr


def test_config_shows_the_origin_of_each_value(scaup: Scaup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "dotenv_values", lambda _: {"SCAUP_MQTT_HOST": "from-file", "SCAUP_MQTT_PORT": "1"})
    monkeypatch.setenv("SCAUP_MQTT_PORT", "1884")
    monkeypatch.setenv("SCAUP_MQTT_PASSWORD", "hunter2")
    monkeypatch.delenv("SCAUP_DATA_DIR", raising=False)
    result = scaup("config")
    found = {each["variable"]: (each["value"], each["from"]) for each in map(json.loads, result.stdout.splitlines())}
    assert result.exit_code == 0
    assert found["SCAUP_MQTT_HOST"] == ("from-file", ".env")
    assert found["SCAUP_MQTT_PORT"] == ("1884", "environment")
    assert found["SCAUP_DATA_DIR"] == ("var", "default")
    assert found["SCAUP_MQTT_PASSWORD"] == ("********", "environment")
    assert "hunter2" not in result.output


def test_config_lists_the_variables_of_every_component(scaup: Scaup) -> None:
    shown = {json.loads(line)["variable"] for line in scaup("config").stdout.splitlines()}
    assert {each.name for declaration in components().values() for each in declaration.variables} <= shown


def test_config_points_at_a_misspelled_variable(scaup: Scaup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCAUP_MQTT_PROT", "1884")
    assert "did you mean SCAUP_MQTT_PORT?" in scaup("config").stderr


def test_config_shows_everything_and_then_what_is_wrong(scaup: Scaup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCAUP_MQTT_PORT", "many")
    result = scaup("config")
    assert result.exit_code == 2
    assert "SCAUP_TIME_SCALE" in result.stdout
    assert "SCAUP_MQTT_PORT must be" in result.stderr


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SCAUP_MQTT_PASSWORD", "", ""),
        ("SCAUP_MQTT_PASSWORD", "x", "********"),
        ("SCAUP_API_TOKEN", "x", "********"),
        ("SCAUP_URL", "ws://user:secret@host:1/x", "ws://user:********@host:1/x"),
        ("SCAUP_URL", "ws://user@host", "ws://user@host"),
        ("SCAUP_MQTT_HOST", "a", "a"),
    ],
)
def test_secrets_are_masked(name: str, value: str, expected: str) -> None:
    assert config.masked(name, value) == expected


def test_run_passes_on_the_options_after_the_name(scaup: Scaup, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    module = ModuleType("controllers.heating.__main__")

    @click.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
    @click.argument("_options", nargs=-1)
    def main(_options: tuple[str, ...]) -> None:
        seen.append(list(sys.argv))

    module.main = main  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "controllers.heating.__main__", module)
    monkeypatch.setattr(sys, "argv", [])
    result = scaup("run", "heating", "--rooms", "5", "-v", "--help")
    assert result.exit_code == 0
    assert seen == [["scaup run heating", "--rooms", "5", "-v", "--help"]]


def test_ctrl_c_is_quiet(scaup: Scaup, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    module = ModuleType("controllers.heating.__main__")
    module.main = interrupted  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "controllers.heating.__main__", module)
    monkeypatch.setattr(sys, "argv", [])
    result = scaup("run", "heating")
    assert (result.exit_code, result.output) == (130, "")


@pytest.mark.parametrize(("shell", "expected"), [("bash", "complete"), ("zsh", "compdef"), ("fish", "complete")])
def test_completion_scripts(scaup: Scaup, shell: str, expected: str) -> None:
    result = scaup("completion", shell)
    assert result.exit_code == 0
    assert expected in result.stdout
    assert "_SCAUP_COMPLETE" in result.stdout


def complete(session: Session, arguments: list[str], incomplete: str) -> list[str]:
    class Completion(ShellComplete):
        pass

    found = Completion(cli, {"obj": session}, "scaup", "_SCAUP_COMPLETE").get_completions(arguments, incomplete)
    return [each.value for each in found]


def test_components_are_completed(bus: FakeBus) -> None:
    assert complete(FakeSession(bus), ["run"], "heat") == ["heating"]


def test_topics_are_completed_as_they_were_recorded(bus: FakeBus, recorder: FakeRecorder) -> None:
    for topic in ("/readings/room-1/temperature", "/readings/room-2/temperature", "/actuators/room-1"):
        recorder.record(topic, "x")
    session = FakeSession(bus)
    assert complete(session, ["tail"], "/rea") == ["/readings/room-1/temperature", "/readings/room-2/temperature"]
    assert complete(session, ["heating", "setpoint"], "room-") == ["room-1", "room-2"]


@pytest.mark.parametrize("session", [FakeSession(None), FakeSession(FakeBus())])
def test_completion_is_silent_without_a_recorder(session: FakeSession, capsys: pytest.CaptureFixture[str]) -> None:
    assert complete(session, ["tail"], "/rea") == []
    assert capsys.readouterr() == ("", "")


def test_the_group_is_a_click_group() -> None:
    assert isinstance(cli, click.Group)


def test_a_component_that_cannot_keep_up_is_shown(scaup: Scaup, all_online: FakeBus) -> None:
    all_online.retain("components/heating/warning", '{"text":"19000 messages were rejected","boot":"boot-of-heating"}')
    all_online.retain("components/energy/warning", '{"text":"long ago","boot":"an earlier start"}')
    result = scaup("status")
    assert result.exit_code == 0
    assert "heating: 19000 messages were rejected" in result.stderr
    warnings = {each["component"]: each["warning"] for each in map(json.loads, result.stdout.splitlines())}
    assert (warnings["heating"], warnings["energy"]) == ("19000 messages were rejected", None)
    found = [json.loads(line) for line in scaup("doctor").stdout.splitlines()]
    (shown,) = [each for each in found if each["check"] == "heating"]
    assert (shown["result"], shown["detail"]) == ("warning", "19000 messages were rejected")
    assert "long ago" not in str(found)
