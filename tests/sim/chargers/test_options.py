import json

import pytest
from click.testing import CliRunner

from broker.runtime.settings import Settings
from sim.chargers.__main__ import _chargers, affordable, main
from sim.chargers.component import Fleet
from sim.chargers.connection import CHARGER, WIDGET


def test_settings_choose_the_server() -> None:
    given = {"SCAUP_SIM_CHARGER_HOST": "hall", "SCAUP_CHARGER_PORT": "3101", "SCAUP_TIME_SCALE": "60"}
    built = _chargers(Settings.load(given), Fleet())
    assert [each.url("x") for each in built._endpoints] == ["ws://hall:3101/chargers/x", "ws://hall:3200/widgets/x"]
    assert built._time_scale == 60


def test_default_ports_are_those_of_the_adapter() -> None:
    from adapters.chargers.declaration import CHARGER_PORT, WIDGET_PORT

    assert (CHARGER.port_variable, CHARGER.usual_port) == (CHARGER_PORT.name, CHARGER_PORT.default)
    assert (WIDGET.port_variable, WIDGET.usual_port) == (WIDGET_PORT.name, WIDGET_PORT.default)


def test_open_file_limit_bounds_the_chargers(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    changed: list[tuple[int, int]] = []
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr("resource.setrlimit", lambda _, limits: changed.append(limits))
    assert affordable(480) == 480
    assert changed == []
    assert affordable(1000) == 1000
    assert (changed.pop(), caplog.text) == ((2064, 4096), "")
    assert affordable(20_000) == 2016
    assert changed == [(4096, 4096)]
    assert "only 4096 files may be open: 2016 chargers instead of 20000" in caplog.text


def test_pairs_are_printed_without_a_broker() -> None:
    result = CliRunner().invoke(main, ["--chargers", "2", "--print-pairs"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"sim-c1": "sim-w1", "sim-c2": "sim-w2"}
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--fault", "tired=0.1"], "not NAME=SHARE with NAME one of garbage, text, falling, disconnect"),
        (["--fault", "text"], "not NAME=SHARE"),
        (["--fault", "text=1.5"], "not a share from 0 to 1"),
        (["--fault", "text=nan"], "not a share from 0 to 1"),
        (["--chargers", "0"], "range"),
        (["--chargers", "20001"], "range"),
    ],
)
def test_wrong_options_are_refused(arguments: list[str], reason: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert reason in " ".join(result.output.split())
