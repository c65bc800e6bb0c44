from pathlib import Path

import pytest

from broker.errors import InvalidSetting
from broker.runtime.declaration import Variable
from broker.runtime.settings import ROOT, Settings


def test_defaults() -> None:
    settings = Settings.load({})
    assert (settings.mqtt_host, settings.mqtt_port, settings.mqtt_ws_port) == ("127.0.0.1", 1883, None)
    assert settings.data_dir == ROOT / "var"
    assert settings.database == ROOT / "var" / "scaup.duckdb"
    assert settings.time_scale == 1
    assert settings.bind == ("127.0.0.1", "::1")
    assert settings.components == ()
    assert settings.mqtt_username is None


def test_given_values() -> None:
    settings = Settings.load({"SCAUP_DATA_DIR": "/data", "SCAUP_COMPONENTS": "recorder, heating,", "SCAUP_BIND": "10.0.0.1"})
    assert settings.data_dir == Path("/data")
    assert settings.components == ("recorder", "heating")
    assert settings.bind == ("10.0.0.1",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SCAUP_MQTT_PORT", "0"),
        ("SCAUP_MQTT_PORT", "65536"),
        ("SCAUP_MQTT_PORT", "abc"),
        ("SCAUP_MQTT_WS_PORT", "-1"),
        ("SCAUP_TIME_SCALE", "0"),
        ("SCAUP_TIME_SCALE", "nan"),
        ("SCAUP_TIME_SCALE", "fast"),
        ("SCAUP_PLANT_EPOCH", "yesterday"),
        ("SCAUP_PLANT_EPOCH", "2026-01-31T08:00:00"),
    ],
)
def test_an_invalid_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=name):
        Settings.load({name: value})


def test_a_components_own_variable() -> None:
    rooms = Variable(name="SCAUP_SIM_ROOMS", default="1", meaning="")
    assert Settings.load({}).value(rooms) == "1"
    assert Settings.load({"SCAUP_SIM_ROOMS": "5"}).value(rooms) == "5"
    assert Settings.load({"SCAUP_SIM_ROOMS": " "}).value(rooms) == "1"
