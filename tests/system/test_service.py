"""The commands of the systemd unit, run as they stand in it, and a power cut in between."""

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.launcher.service import Unit
from broker.runtime.settings import ROOT
from tests.system.test_lifecycle import Plant, eventually, has_recorded, new_plant, recorded_readings

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    made = new_plant(tmp_path.resolve())
    yield made
    made.make("down")


def run(plant: Plant, what: str) -> None:
    """Run a command of the unit as systemd does: in its folder, with its environment only."""
    given = {name: text for name, text in plant.settings.environment.items() if name.startswith("SCAUP_")}
    unit = Unit(root=ROOT, command=str(ROOT / ".venv" / "bin" / "scaup"), environment={**given, "RUNTIME": "native"})
    lines = [line.partition("=")[::2] for line in unit.render().splitlines()]
    (command,) = [shlex.split(value) for name, value in lines if name == what]
    (folder,) = [value for name, value in lines if name == "WorkingDirectory"]
    variables = [shlex.split(value)[0].partition("=")[::2] for name, value in lines if name == "Environment"]
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **dict(variables)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def power_cut(plant: Plant) -> None:
    """Kill everything at once, the guardian first; files of the run are left as they are."""
    for process in sorted(plant.left(), key=lambda each: "guardian" not in " ".join(each.cmdline())):
        process.kill()
    assert eventually(lambda: plant.left() == [])
    assert plant.place.pid_file.exists()
    assert plant.place.socket.exists()


def recorded(plant: Plant, sql: str) -> str:
    command = [str(ROOT / ".venv" / "bin" / "scaup"), "query", "-o", "csv", sql]
    environment = {**os.environ, **plant.settings.environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout


def test_the_unit_brings_everything_back_after_a_reboot(plant: Plant) -> None:
    run(plant, "ExecStart")
    assert eventually(lambda: has_recorded(plant, 20))
    state = "SELECT count(*) AS n, max(event_at) AS plant_at FROM messages WHERE number <= $limit"
    newest = recorded(plant, "SELECT max(number) AS number FROM messages").split()[1]
    before = recorded(plant, state.replace("$limit", newest))
    power_cut(plant)

    run(plant, "ExecStart")
    assert plant.healthy()
    assert recorded(plant, state.replace("$limit", newest)) == before
    seen = recorded_readings(plant)
    assert eventually(lambda: has_recorded(plant, seen + 5))
    later = (
        f"SELECT count(*) AS n FROM messages WHERE number > {newest} AND event_at <= (SELECT max(event_at) FROM messages "
        f"WHERE number <= {newest})"
    )
    assert recorded(plant, later).split() == ["n", "0"], "plant time continues"

    run(plant, "ExecStop")
    assert plant.left() == []
    assert not plant.place.socket.exists()
    assert plant.ports_are_free()
