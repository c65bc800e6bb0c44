"""The container runtime: what it refuses, publishes and reports."""

import json
from pathlib import Path

import pytest

from adapters.client.errors import Failed
from adapters.launcher import compose
from adapters.launcher.compose import Compose, published_ports
from broker.runtime.settings import Settings, read_password


def test_further_addresses_are_published_too() -> None:
    settings = Settings.load({"SCAUP_MQTT_PORT": "21883", "SCAUP_MQTT_WS_PORT": "29001"})
    ports = json.loads(published_ports(settings, ["127.0.0.1", "::1"]))["services"]["broker"]["ports"]
    assert ports == ["[::1]:21883:1883", "127.0.0.1:29001:9001", "[::1]:29001:9001"]


def test_volume_is_prepared_for_every_account(tmp_path: Path) -> None:
    compose.prepare_volume(Settings.load({"SCAUP_DATA_DIR": str(tmp_path)}))
    configuration = (tmp_path / "broker" / "mosquitto.conf").read_text()
    assert "\nlistener 1883\n" in configuration
    assert "allow_anonymous true" in configuration
    assert read_password(tmp_path, "operator")


def test_volume_of_an_open_port_requires_accounts(tmp_path: Path) -> None:
    compose.prepare_volume(Settings.load({"SCAUP_DATA_DIR": str(tmp_path), "SCAUP_BIND": "0.0.0.0"}))
    assert "allow_anonymous false" in (tmp_path / "broker" / "mosquitto.conf").read_text()
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
