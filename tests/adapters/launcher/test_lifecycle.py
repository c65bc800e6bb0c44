"""Choosing a runtime, and the steps that the Makefile runs."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from adapters.cli.main import cli
from adapters.client.errors import Failed, WrongUsage
from adapters.launcher import lifecycle, preflight, upgrade
from adapters.launcher.__main__ import main, runs
from adapters.launcher.compose import Compose
from adapters.launcher.registry import chosen, components
from adapters.launcher.runtime import columns
from broker.runtime.settings import Settings


class Fake:
    def __init__(self, running: bool) -> None:
        self._running = running

    def running(self) -> bool:
        return self._running


def test_epoch_lasts_while_the_system_is_up(tmp_path: Path) -> None:
    settings = Settings.load({"SCAUP_DATA_DIR": str(tmp_path)})
    first = lifecycle._epoch(settings, False, 60)
    assert lifecycle._epoch(settings, True, 60) == first
    (tmp_path / "plant-epoch").write_text("2026-01-31T08:00:00.000+00:00\n")
    assert lifecycle._epoch(settings, True, 60) == "2026-01-31T08:00:00.000+00:00"
    assert lifecycle._epoch(settings, False, 60) != "2026-01-31T08:00:00.000+00:00"
    assert Settings.load({"SCAUP_PLANT_EPOCH": first}).plant_epoch is not None


@pytest.mark.parametrize(("given", "scale"), [({}, "60"), ({"SCAUP_TIME_SCALE": "5"}, "5")])
def test_time_scale_is_sixty_unless_set(tmp_path: Path, given: dict[str, str], scale: str) -> None:
    settings = Settings.load({"SCAUP_DATA_DIR": str(tmp_path)} | given)
    environment = lifecycle._environment(settings, Fake(False))  # type: ignore[arg-type]
    assert environment["SCAUP_TIME_SCALE"] == scale


@pytest.mark.parametrize(("given", "days"), [({}, "7"), ({"SCAUP_SIM_HISTORY_DAYS": "0"}, "0")])
def test_history_is_a_week_unless_set(tmp_path: Path, given: dict[str, str], days: str) -> None:
    settings = Settings.load({"SCAUP_DATA_DIR": str(tmp_path)} | given)
    environment = lifecycle._environment(settings, Fake(False))  # type: ignore[arg-type]
    assert environment["SCAUP_SIM_HISTORY_DAYS"] == days


def test_components_are_named_what_else_is_started(tmp_path: Path) -> None:
    usual = [name for name, each in components().items() if not each.starts_where]
    for given, home_assistant, expected in (
        ("", "", usual),
        ("", "no", usual),
        ("", "yes", [name for name in components() if name != "lake-forwarder"]),
        ("heating,recorder", "yes", ["recorder", "heating"]),
        ("home-assistant", "", ["home-assistant"]),
    ):
        variables = {"SCAUP_COMPONENTS": given, "SCAUP_HOME_ASSISTANT": home_assistant}
        settings = Settings.load({"SCAUP_DATA_DIR": str(tmp_path), **variables})
        environment = lifecycle._environment(settings, Fake(False))  # type: ignore[arg-type]
        assert environment["SCAUP_COMPONENTS"].split(",") == expected


@pytest.mark.parametrize(
    ("value", "there", "starts"), [("", False, False), ("", True, True), ("lake.toml", False, True), ("no", True, False)]
)
def test_forwarder_starts_where_a_site_is_joined(tmp_path: Path, value: str, there: bool, starts: bool) -> None:
    if there:
        (tmp_path / "lake.toml").touch()
    settings = Settings.load({"SCAUP_DATA_DIR": str(tmp_path), "SCAUP_LAKE": value})
    assert ("lake-forwarder" in chosen(settings)) is starts


def test_supervisor_configuration_holds_no_password(tmp_path: Path) -> None:
    settings = Settings.load({"SCAUP_DATA_DIR": str(tmp_path), "SCAUP_MQTT_PASSWORD": "secret"})
    assert "SCAUP_MQTT_PASSWORD" not in lifecycle._environment(settings, Fake(False))  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "expected"), [("", None), ("native", "native"), (" docker ", "docker")])
def test_wanted_runtime(monkeypatch: pytest.MonkeyPatch, text: str, expected: str | None) -> None:
    monkeypatch.setenv("RUNTIME", text)
    assert lifecycle._wanted() == expected


def test_unknown_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME", "podman")
    with pytest.raises(WrongUsage, match="native or docker"):
        lifecycle._wanted()


def test_down_before_anything_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCAUP_DATA_DIR", str(tmp_path / "never"))
    result = CliRunner().invoke(cli, ["down"])
    assert result.exit_code == 0
    assert "nothing runs" in result.output


def test_runs_exits_with_0_only_while_the_system_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCAUP_DATA_DIR", str(tmp_path))
    assert CliRunner().invoke(runs).exit_code == 1
    (tmp_path / "plant-epoch").touch()
    assert CliRunner().invoke(runs).exit_code == 0


def test_failed_step_names_the_fix(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise Failed("no broker", "install it")

    monkeypatch.setenv("SCAUP_TEST_BROKER", "local")
    monkeypatch.setattr(preflight, "ensure_broker", fail)
    monkeypatch.setattr("sys.argv", ["launcher", "need-broker"])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert capsys.readouterr().err == "Error: no broker\nFix: install it\n"


def test_columns_are_aligned() -> None:
    assert columns([("a", "bb", ""), ("ccc", "d", "e")]) == ["a    bb", "ccc  d   e"]


def test_earlier_release_is_stopped_after_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    settings = Settings.load({"SCAUP_DATA_DIR": str(tmp_path)})
    monkeypatch.setattr(Compose, "running", lambda _: True)
    monkeypatch.setattr(upgrade, "_commit", lambda: "")
    monkeypatch.setattr(Compose, "build", lambda _: done.append("build"))
    monkeypatch.setattr(lifecycle, "_stop", lambda *_: done.append("stop"))
    runtime = Compose(settings=settings, components=())
    lifecycle._stop_earlier_release(settings, runtime)
    assert done == ["build", "stop"]
    upgrade.note(settings)
    lifecycle._stop_earlier_release(settings, runtime)
    assert done == ["build", "stop"], "this release runs already"


def test_upgrade_without_room_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.load({"SCAUP_DATA_DIR": str(tmp_path)})
    settings.database.write_bytes(b"database")
    monkeypatch.setattr(upgrade, "_ROOM", 1e15)
    monkeypatch.setattr(upgrade, "_commit", lambda: "")
    monkeypatch.setattr(Compose, "running", lambda _: True)
    with pytest.raises(Failed, match="the upgrade needs") as caught:
        lifecycle._stop_earlier_release(settings, Compose(settings=settings, components=()))
    assert "goes on" in caught.value.fix


def test_unfinished_restore_is_named(tmp_path: Path) -> None:
    (tmp_path / "restoring").mkdir()
    with pytest.raises(Failed, match="interrupted") as caught:
        lifecycle._refuse_unfinished_restore(Settings.load({"SCAUP_DATA_DIR": str(tmp_path)}))
    assert "scaup restore" in caught.value.fix
