"""Simulated history with the real recorder and the controllers: recorded once, and without effect on live data."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from broker.runtime.settings import ROOT
from tests.real_broker import RealBroker

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

SIMULATORS = ("sim-machines", "sim-ships", "sim-chargers")
CONTROLLERS = ("recorder", "energy", "moving-average", "charging")
WITHIN_S = 45.0
HISTORY = (
    "SELECT source, count(*) AS messages FROM messages WHERE starts_with(boot, 'history-') GROUP BY source ORDER BY source"
)


class Plant:
    """Components as processes, with simulated history wanted."""

    def __init__(self, broker: RealBroker) -> None:
        self.broker = broker
        self.environment = {**broker.environment, "SCAUP_SIM_HISTORY_DAYS": "7", "SCAUP_TIME_SCALE": "60"}
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, *names: str) -> None:
        for name in names:
            with (self.broker.data_dir / f"{name}.log").open("ab") as log:
                command = (sys.executable, "-m", "adapters.cli.main", "run", name)
                self.running[name] = subprocess.Popen(command, env=self.environment, cwd=ROOT, stderr=log)

    def stop(self, *names: str) -> None:
        for name in names:
            self.running[name].terminate()
        for name in names:
            self.running.pop(name).wait(20)

    def scaup(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "adapters.cli.main", *arguments)
        return subprocess.run(command, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=60)

    def online(self, *names: str) -> None:
        eventually(lambda: self.scaup("status", *names).returncode == 0)

    def readings(self, since: str) -> int:
        """Return how many readings of machine 1 the period has."""
        listed = self.scaup("machines", "list", "--since", since)
        return int(next(row["readings"] for row in map(orjson.loads, listed.stdout.splitlines()) if row["machine"] == "1"))

    def query(self, sql: str) -> list[dict[str, Any]]:
        answered = self.scaup("query", sql)
        assert answered.returncode == 0, answered.stderr
        return [orjson.loads(line) for line in answered.stdout.splitlines()]


def eventually(met: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not met():
        assert time.monotonic() < deadline_s
        time.sleep(0.2)


@pytest.fixture
def plant(own_broker: RealBroker) -> Iterator[Plant]:
    made = Plant(own_broker)
    try:
        yield made
    finally:
        made.stop(*reversed(made.running))


def test_history_is_there_at_once_and_only_once(plant: Plant) -> None:
    plant.run(*CONTROLLERS)
    plant.online(*CONTROLLERS)
    plant.run(*SIMULATORS)
    plant.online(*SIMULATORS)
    for command in ("energy show 1", "energy ships", "machines analyze 1", "machines list", "chargers sessions"):
        shown = plant.scaup(*command.split())
        assert shown.returncode == 0, (command, shown.stderr)
        assert shown.stdout, command
    recent, all_of_it = (plant.readings(since) for since in ("2h", "8d"))
    assert recent >= 115
    assert all_of_it - recent > 500, "of simulated history the plant time counts, not its arrival a moment ago"
    sent = plant.query(HISTORY)
    assert [each["source"] for each in sent] == sorted(SIMULATORS)
    assert sum(each["messages"] for each in sent) < 5_000

    plant.stop(*SIMULATORS, "moving-average")
    plant.run(*SIMULATORS, "moving-average")
    plant.online(*SIMULATORS, "moving-average")
    eventually(lambda: bool(plant.query("SELECT 1 FROM messages WHERE source = 'sim-machines' AND seq = 30 LIMIT 1")))
    assert plant.query(HISTORY) == sent
    live = "SELECT count(*) AS n FROM messages WHERE topic LIKE 'machines/%/reading' AND NOT starts_with(boot, 'history-')"
    averages = plant.query("SELECT count(*) AS n FROM machine_average")[0]["n"]
    assert 0 < averages <= plant.query(live)[0]["n"], "history has no averages"
    assert plant.query("SELECT * FROM rejected_message") == []
    assert plant.query("SELECT * FROM charging_session WHERE ended_at < started_at OR ended_by = 'lost'") == []
    assert plant.scaup("verify").returncode == 0
    (times,) = plant.query(
        "SELECT max(event_at) FILTER (starts_with(boot, 'history-')) < min(event_at) FILTER (NOT starts_with(boot, 'history-'))"
        " AS before FROM messages WHERE topic LIKE 'machines/%/reading'"
    )
    assert times == {"before": True}
