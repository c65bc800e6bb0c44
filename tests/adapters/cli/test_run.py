"""`scaup run`: components and simulated devices."""

from importlib import import_module

import click
import pytest

from adapters.cli.commands.run import Runnable, run
from adapters.launcher.registry import components, stand_ins
from tests.adapters.cli.conftest import Scaup


def test_a_wrong_name_is_answered_with_the_valid_ones(scaup: Scaup) -> None:
    result = scaup("run", "sim-chargerr")
    assert result.exit_code == 2
    assert "there is no component 'sim-chargerr'" in result.stderr
    for name in (*components(), *stand_ins()):
        assert name in result.stderr


def test_no_stand_in_has_the_name_of_a_component() -> None:
    assert not stand_ins().keys() & components().keys()


@pytest.mark.parametrize("name", stand_ins())
def test_a_simulated_device_shows_its_own_help(scaup: Scaup, name: str) -> None:
    result = scaup("run", name, "--help")
    assert result.exit_code == 0
    assert f"Usage: scaup run {name} [OPTIONS]" in result.stdout
    assert f"scaup run {name} --id " in result.stdout
    assert all(parameter.help for parameter in import_module(stand_ins()[name][0]).main.params)


@pytest.mark.parametrize("name", stand_ins())
@pytest.mark.parametrize(
    ("options", "text"),
    [([], "Give its id from the pairs"), (["--id", " "], "Give its id"), (["--id", "x", "--port", "0"], "range")],
)
def test_a_simulated_device_reports_wrong_usage(scaup: Scaup, name: str, options: list[str], text: str) -> None:
    result = scaup("run", name, *options)
    assert result.exit_code == 2
    assert f"Usage: scaup run {name}" in result.stderr
    assert text in result.stderr


def test_a_wrong_setting_is_reported_with_the_fix(scaup: Scaup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCAUP_CHARGER_PORT", "often")
    result = scaup("run", "sim-charger", "--id", "c1234")
    assert result.exit_code == 2
    assert "SCAUP_CHARGER_PORT must be a whole number" in result.stderr
    assert "Fix: " in result.stderr


def test_names_are_completed() -> None:
    found = Runnable().shell_complete(click.Context(run), run.params[0], "sim-charger")
    assert [each.value for each in found] == ["sim-chargers", "sim-charger"]
    assert all(each.help for each in found)


def test_help_does_not_start_a_component(scaup: Scaup) -> None:
    result = scaup("run", "devices", "--help")
    assert (result.exit_code, result.stdout) == (0, "devices has no options; `scaup config` lists its settings\n")
    result = scaup("run", "devices", "--number", "2")
    assert result.exit_code == 2
    assert "devices has no option '--number'" in result.stderr
