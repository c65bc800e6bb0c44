"""Checks before a start: every refusal names the fix."""

import shutil
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from adapters.client.errors import Failed, WrongUsage
from adapters.launcher import orphans, preflight
from broker.launch import mosquitto
from broker.runtime.declaration import Declaration, Variable
from broker.runtime.settings import Settings
from tests import real_broker


def test_taken_port_names_owner_and_fix() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as other:
        port = taken.getsockname()[1]
        free = other.getsockname()[1]
        other.close()
        settings = Settings.load({"SCAUP_MQTT_PORT": str(port), "SCAUP_MQTT_WS_PORT": str(free)})
        with pytest.raises(Failed, match=rf"port {port} is taken by .*\(pid \d+\)") as caught:
            preflight.check_ports(settings)
    assert "SCAUP_MQTT_PORT=… make up" in caught.value.fix
    preflight.check_ports(settings)


@pytest.mark.skipif(not mosquitto.has_ipv6(), reason="this machine has no ::1")
def test_port_taken_on_the_other_loopback_address_is_seen() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Failed, match=f"port {port} is taken"):
            preflight.check_ports(Settings.load({"SCAUP_MQTT_WS_PORT": str(port), "SCAUP_MQTT_PORT": str(port)}))


def test_address_of_another_machine() -> None:
    with pytest.raises(Failed, match=r"no address 192\.0\.2\.7"):
        preflight.check_ports(Settings.load({"SCAUP_BIND": "192.0.2.7", "SCAUP_MQTT_PORT": "21999"}))


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=preflight.LEAST_FREE_BYTES - 1))
    with pytest.raises(Failed, match="499 MB are free"):
        preflight.check_disk(tmp_path / "new")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=preflight.LEAST_FREE_BYTES))
    preflight.check_disk(tmp_path / "new")


def test_data_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Failed, match="cannot be made") as caught:
        preflight.check_disk(tmp_path / "file" / "var")
    assert "SCAUP_DATA_DIR" in caught.value.fix


def test_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    preflight.check_python()
    monkeypatch.setattr(sys, "version_info", (3, 10, 12))
    with pytest.raises(Failed, match=r"Python 3\.10\.12 is too old"):
        preflight.check_python()


def test_unknown_component_is_named_with_those_that_exist() -> None:
    known = {"heating": Declaration(name="heating", summary="heats")}
    preflight.check_components(["heating"], known)
    with pytest.raises(WrongUsage, match="haeting") as caught:
        preflight.check_components(["haeting"], known)
    assert "heating" in caught.value.fix


def test_login_is_refused_for_our_own_broker() -> None:
    preflight.check_login(Settings.load({}))
    with pytest.raises(WrongUsage, match="SCAUP_MQTT_USERNAME"):
        preflight.check_login(Settings.load({"SCAUP_MQTT_USERNAME": "me"}))


def test_missing_broker_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mosquitto, "find", lambda: None)
    monkeypatch.setattr(preflight, "_administrator", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name == "apt-get" else None)
    with pytest.raises(Failed, match="not installed") as caught:
        preflight.ensure_broker()
    assert "sudo apt-get install -y --no-install-recommends mosquitto" in caught.value.fix


@pytest.mark.parametrize(("manager", "command"), [("dnf", "dnf install"), ("apk", "apk add"), ("brew", "brew install")])
def test_install_command_of_other_systems(monkeypatch: pytest.MonkeyPatch, manager: str, command: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name if name == manager else None)
    assert command in preflight.install_command()


@pytest.mark.parametrize(("free_mb", "refused"), [(9, True), (10, False)])
def test_stop_that_would_lose_the_queue_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_mb: int, refused: bool
) -> None:
    broker = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=10 * 1024**2))
    others = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=10**9))
    members = [orphans.Member(broker, orphans.BROKER), orphans.Member(others, orphans.COMPONENTS)]  # type: ignore[arg-type]
    monkeypatch.setattr(orphans, "find", lambda _prefix: members)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free_mb * 1024**2))
    if refused:
        with pytest.raises(Failed, match="could not save what is queued") as caught:
            preflight.check_room_to_save(tmp_path)
        assert "--force" in caught.value.fix
    else:
        preflight.check_room_to_save(tmp_path)


def test_taken_port_of_a_component_names_its_variable() -> None:
    port = Variable(name="SCAUP_SIREN_PORT", default="1", meaning="a port")
    siren = Declaration(name="siren", summary="loud", variables=(port,), listens=(port,))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = real_broker.free_ports(2)
        given = {"SCAUP_MQTT_PORT": str(free[0]), "SCAUP_MQTT_WS_PORT": str(free[1])}
        settings = Settings.load({**given, "SCAUP_SIREN_PORT": str(taken.getsockname()[1])})
        with pytest.raises(Failed, match=r"is taken by .*\(pid \d+\)") as caught:
            preflight.check_ports(settings, [siren])
    assert "SCAUP_SIREN_PORT=… make up" in caught.value.fix
