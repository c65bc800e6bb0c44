"""The pumps, as part of a whole system: recorded, typed, shown, guarded by access rules, and supervised."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import adapters
import broker
import sim
import storage
from tests.real_broker import RealBroker
from tests.system.test_broker import NOT_AUTHORIZED, client, publish, received

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
SCAUP = (sys.executable, "-m", "adapters.cli.main")


@pytest.fixture
def plant(own_broker: RealBroker) -> Iterator[RealBroker]:
    """A broker with the recorder and the simulated pump."""
    running = [
        subprocess.Popen([*SCAUP, "run", name], env=own_broker.environment, stderr=subprocess.DEVNULL)
        for name in ("recorder", "sim-pumps")
    ]
    try:
        yield own_broker
    finally:
        for each in running:
            each.terminate()
        assert [each.wait(20) for each in running] == [0, 0]


def scaup(plant: RealBroker, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SCAUP, *arguments], env=plant.environment, capture_output=True, text=True, timeout=60, check=False)


def rows(plant: RealBroker, *arguments: str) -> list[dict[str, Any]]:
    done = scaup(plant, *arguments, "-o", "json")
    return json.loads(done.stdout) if done.returncode == 0 else []


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.2)


def test_packages_come_from_this_tree() -> None:
    for package in (adapters, broker, sim, storage):
        assert Path(str(package.__file__)).is_relative_to(Path.cwd())


def test_pumps_are_part_of_the_system(plant: RealBroker) -> None:
    until(lambda: scaup(plant, "status", "recorder", "sim-pumps").returncode == 0)
    assert "sim-pumps" in scaup(plant, "status", "sim-pumps").stdout
    with client(plant) as anonymous:
        (state,) = received(anonymous, "components/sim-pumps/state")
    assert json.loads(state.payload)["state"] == "online"

    until(lambda: bool(rows(plant, "pumps")))
    (pump,) = rows(plant, "pumps")
    assert pump["pump"] == "p1"
    assert pump["litres_per_min"] == 12.5
    assert pump["readings"] > 0

    listed = {each["name"]: each for each in rows(plant, "tables")}
    assert {"pump_flow", "pump_peak"} <= listed.keys()
    (typed,) = rows(
        plant, "query", "SELECT count(*) AS rows FROM pump_flow JOIN messages USING (number) WHERE topic = 'pumps/p1/flow'"
    )
    assert typed["rows"] > 0
    assert scaup(plant, "verify").returncode == 0


def test_access_rules_follow_the_declarations(own_broker: RealBroker) -> None:
    with client(own_broker, "sim-pumps") as pump:
        assert publish(pump, "pumps/p1/flow") < 0x80
        assert publish(pump, "pumps/p1/other") == NOT_AUTHORIZED
        assert publish(pump, "heating/room-1/setpoint") == NOT_AUTHORIZED
        assert publish(pump, "pumps/p1/limit") == NOT_AUTHORIZED
    with client(own_broker, "operator") as operator:
        assert publish(operator, "pumps/p1/limit") < 0x80
        assert publish(operator, "pumps/p1/flow") == NOT_AUTHORIZED
    with client(own_broker) as anonymous:
        assert publish(anonymous, "pumps/p1/flow") == NOT_AUTHORIZED
