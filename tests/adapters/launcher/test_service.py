"""The systemd unit: its text, and what is done with it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from adapters.client.errors import Failed, WrongUsage
from adapters.launcher import service
from adapters.launcher.service import UNIT, Systemd, Unit
from broker.runtime.settings import ROOT, Settings

ODD = 'a b"c\\d%e$f'


def unit(**changed: object) -> Unit:
    given: dict[str, object] = {"root": ROOT, "command": str(ROOT / ".venv" / "bin" / "scaup")}
    return Unit(**{**given, **changed})  # type: ignore[arg-type]


def test_the_unit_runs_what_make_up_and_make_down_do() -> None:
    lines = unit(account="ann").render().splitlines()
    assert f'ExecStart="{ROOT}/.venv/bin/scaup" up' in lines
    assert f'ExecStop="{ROOT}/.venv/bin/scaup" down' in lines
    assert f"WorkingDirectory={ROOT}" in lines
    assert "User=ann" in lines
    assert "WantedBy=multi-user.target" in lines
    assert "WantedBy=default.target" in unit(system=False).render().splitlines()


def test_settings_with_odd_characters_are_quoted() -> None:
    text = unit(environment={"SCAUP_BIND": ODD}, command=f"/opt/{ODD}/scaup").render()
    assert 'Environment="SCAUP_BIND=a b\\"c\\\\d%%e$f"\n' in text
    assert 'ExecStart="/opt/a b\\"c\\\\d%%e$$f/scaup" up\n' in text


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("system", [True, False])
def test_systemd_accepts_the_unit(tmp_path: Path, system: bool) -> None:
    path = tmp_path / UNIT
    path.write_text(unit(command=shutil.which("true"), system=system, environment={"SCAUP_BIND": ODD}).render())
    words = ["systemd-analyze", *([] if system else ["--user"]), "verify", str(path)]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert UNIT not in done.stderr


def test_a_password_does_not_get_into_the_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCAUP_MQTT_PASSWORD", "hush")
    with pytest.raises(WrongUsage, match="everybody can read"):
        service.unit(Settings.load({}), system=True)


def test_the_data_directory_of_the_unit_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCAUP_DATA_DIR", "there")
    wanted = service.unit(Settings.load({"SCAUP_DATA_DIR": str(tmp_path)}), system=False)
    assert wanted.environment["SCAUP_DATA_DIR"] == str(tmp_path)
    assert wanted.account is None


def test_without_systemd_the_error_names_another_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(service, "BOOTED", tmp_path / "nothing")
    with pytest.raises(Failed, match="does not run on this machine") as raised:
        Systemd.find(system=False)
    assert "make up" in (raised.value.fix or "")


@pytest.fixture
def systemctl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A systemctl that writes down how it was called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    calls = tmp_path / "calls"
    (folder / "systemctl").write_text(
        f'#!/bin/sh\necho "$@" >>{calls}\n[ ! -e {tmp_path}/fails ] || {{ echo no >&2; exit 1; }}\n'
    )
    (folder / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return calls


@pytest.mark.integration
def test_install_and_remove_leave_nothing(systemctl: Path, tmp_path: Path) -> None:
    systemd = Systemd(system=False, folder=tmp_path / "units")
    report = systemd.install(unit(system=False))
    assert report[0] == f"wrote {systemd.path}"
    assert (tmp_path / "units" / UNIT).read_text() == unit(system=False).render()
    assert systemd.install(unit(system=False))[0] == report[0], "once more is harmless"
    assert f"removed {systemd.path}" in systemd.remove()
    assert list((tmp_path / "units").iterdir()) == []
    assert systemd.remove() == []
    assert systemctl.read_text().splitlines()[:2] == ["--user daemon-reload", f"--user enable --now {UNIT}"]
    assert f"--user disable --now {UNIT}" in systemctl.read_text()


@pytest.mark.integration
def test_a_user_without_a_service_manager_is_told_how(systemctl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "BOOTED", tmp_path)
    assert Systemd.find(system=False).path == service.user_folder() / UNIT
    (tmp_path / "fails").touch()
    with pytest.raises(Failed, match="does not run") as raised:
        Systemd.find(system=False)
    assert "enable-linger" in (raised.value.fix or "")


@pytest.mark.integration
def test_what_systemctl_refuses_is_reported(systemctl: Path, tmp_path: Path) -> None:
    (tmp_path / "fails").touch()
    with pytest.raises(Failed, match="systemctl daemon-reload failed: no"):
        Systemd(system=True, folder=tmp_path / "units").install(unit())


def test_the_unit_of_another_clone_stays(tmp_path: Path) -> None:
    systemd = Systemd(system=False, folder=tmp_path)
    systemd.path.write_text(unit(root=Path("/elsewhere")).render())
    with pytest.raises(Failed, match="is not of this clone"):
        systemd.install(unit())
    with pytest.raises(Failed, match="is not of this clone"):
        systemd.remove()
    assert "/elsewhere" in systemd.path.read_text()
