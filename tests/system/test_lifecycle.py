"""`make up` and `make down` in the native runtime, on free ports."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import duckdb
import psutil
import pytest

from adapters.client.errors import ClientError
from adapters.client.paho_bus import connected
from adapters.client.requests import component_states
from adapters.launcher import guardian, orphans, rollout, supervision
from adapters.launcher.supervision import Place, Program, Supervisor
from broker.contract.components.topics import STATE, Presence
from broker.contract.heating import topics as heating
from broker.errors import TAKEN_OVER_EXIT
from broker.runtime.settings import ROOT, Settings
from broker.stamp import Stamp
from tests.real_broker import own_ports

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]
HEALED_WITHIN_S = 20.0
SECOND_UP_WITHIN_S = 15.0

STARTED = ("recorder", "heating", "sim-rooms")
"""A few components suffice here; `test_readme` starts all of them."""


@dataclass
class Plant:
    """One system, started and stopped as a user does it."""

    settings: Settings

    def make(self, command: str, **more: str) -> subprocess.CompletedProcess[str]:
        return self.scaup(command, **more)

    def scaup(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "adapters.cli.main", *words],
            cwd=ROOT,
            env=self.environment | more,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.settings.environment, "RUNTIME": "native"}

    @property
    def place(self) -> Place:
        return Place(data_dir=self.settings.data_dir)

    def pids(self) -> dict[str, int]:
        known = {name: each.pid for name, each in Supervisor(self.place).processes().items() if each.pid}
        return {**known, "supervisord": int(self.place.pid_file.read_text())} if known else {}

    def healthy(self) -> bool:
        try:
            found = rollout.states(self.settings.broker_address("operator"))
        except ClientError:
            return False
        return all(name in found and found[name].state is Presence.ONLINE for name in STARTED)

    def online(self) -> dict[str, Stamp]:
        """Return what each online component published last about itself; a killed broker keeps it over its restart."""
        try:
            with connected(self.settings.broker_address("operator")) as bus:
                retained = bus.retained(STATE.template.filter)
        except ClientError:
            return {}
        states = component_states(retained.values())
        return {
            name: retained[STATE.template.topic(component=name)].stamp
            for name, each in states.items()
            if each.state is Presence.ONLINE
        }

    def online_again(self, before: dict[str, Stamp]) -> bool:
        """Return whether all components have been online since `before`."""
        now = self.online()
        return all(name in now and now[name] != before.get(name) for name in STARTED)

    def kill(self, name: str) -> int:
        pid = self.pids()[name]
        os.kill(pid, signal.SIGKILL)
        return pid

    def left(self) -> list[psutil.Process]:
        return [each.process for each in orphans.find(orphans.mark_prefix(self.settings.data_dir))]

    def ports_are_free(self) -> bool:
        taken = {each.laddr[1] for each in psutil.net_connections("inet") if each.status == psutil.CONN_LISTEN and each.laddr}
        return self.settings.mqtt_port not in taken


def new_plant(data_dir: Path, **more: str) -> Plant:
    given = {**own_ports(), "SCAUP_DATA_DIR": str(data_dir), "SCAUP_COMPONENTS": ",".join(STARTED)}
    return Plant(Settings.load(given | more))


def eventually(condition: Callable[[], bool], limit_s: float = HEALED_WITHIN_S) -> bool:
    deadline_s = time.monotonic() + limit_s
    while not (met := condition()) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    return met


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """A running system. Tests leave it healthy."""
    made = new_plant(tmp_path_factory.mktemp("plant").resolve())
    up = made.make("up")
    try:
        assert up.returncode == 0, up.stderr
        yield made
    finally:
        made.make("down")


@pytest.fixture
def own_plant(tmp_path: Path) -> Iterator[Plant]:
    """A system for one test, not started."""
    made = new_plant(tmp_path.resolve())
    yield made
    made.make("down")


def test_up_lists_components_and_commands_to_try(plant: Plant) -> None:
    up = plant.make("up")
    assert up.returncode == 0
    assert f"All {len(STARTED) + 1} are online" in up.stdout
    for name in ("broker", *STARTED):
        assert name in up.stdout
    assert "pid" not in up.stdout
    assert f"mqtt://localhost:{plant.settings.mqtt_port}" in up.stdout
    assert "mosquitto_sub" in up.stdout
    assert "scaup query" in up.stdout


def test_second_up_changes_nothing_and_is_quick(plant: Plant) -> None:
    before, epoch = plant.pids(), (plant.settings.data_dir / "plant-epoch").read_text()
    start_s = time.monotonic()
    assert plant.make("up").returncode == 0
    assert time.monotonic() - start_s < SECOND_UP_WITHIN_S
    assert plant.pids() == before
    assert (plant.settings.data_dir / "plant-epoch").read_text() == epoch


def test_every_component_has_the_same_plant_time(plant: Plant) -> None:
    epoch = (plant.settings.data_dir / "plant-epoch").read_text().strip()
    for name in STARTED:
        environment = psutil.Process(plant.pids()[name]).environ()
        assert environment["SCAUP_PLANT_EPOCH"] == epoch
        assert environment["SCAUP_TIME_SCALE"] == "60"


def test_up_with_other_settings_names_the_fix(plant: Plant) -> None:
    other = plant.make("up", SCAUP_TIME_SCALE="7")
    assert other.returncode == 1
    assert "with other settings (SCAUP_TIME_SCALE)" in other.stderr
    assert "make down" in other.stderr


def test_second_up_gives_the_running_broker_a_missing_account(plant: Plant) -> None:
    before = plant.pids()
    (plant.settings.data_dir / "credentials" / "operator").unlink()
    up = plant.make("up")
    assert up.returncode == 0, up.stderr
    assert plant.pids() == before


def test_accounts_added_at_once_log_in_without_a_restart(plant: Plant) -> None:
    before = plant.pids()
    with ThreadPoolExecutor() as pool:
        added = list(
            pool.map(lambda name: plant.scaup("account", "add", name, "--role", "operator"), ("alice", "bob", "carol"))
        )
    assert [each.returncode for each in added] == [0, 0, 0], added[0].stderr
    login = {"SCAUP_MQTT_USERNAME": "bob", "SCAUP_MQTT_PASSWORD": added[1].stdout.strip()}
    asked = plant.scaup("query", "SELECT 1 AS one", **login)
    assert (asked.returncode, asked.stdout.strip()) == (0, '{"one":1}')
    assert plant.scaup("account", "remove", "bob").returncode == 0
    refused = plant.scaup("query", "SELECT 1", **login)
    assert refused.returncode == 4
    assert "refused the login of 'bob'" in refused.stderr
    assert len(plant.scaup("account", "list").stdout.splitlines()) == 2
    assert plant.pids() == before


def test_listens_on_loopback_only(plant: Plant) -> None:
    ours = plant.left()
    listening = {each.laddr for process in ours for each in process.net_connections("inet") if each.status == "LISTEN"}
    assert {port for _, port in listening} >= {plant.settings.mqtt_port}
    assert {address for address, _ in listening} <= {"127.0.0.1", "::1"}


def test_files_with_secrets_are_private(plant: Plant) -> None:
    for path in [*(plant.settings.data_dir / "credentials").iterdir(), *(plant.settings.data_dir / "broker").iterdir()]:
        assert path.stat().st_mode & 0o077 == 0, path
    assert plant.place.socket.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["broker", "guardian", *STARTED])
def test_a_killed_program_is_restarted_and_no_other(plant: Plant, name: str) -> None:
    before, online = plant.pids(), plant.online()
    plant.kill(name)
    assert eventually(lambda: plant.pids().get(name, before[name]) != before[name])
    assert eventually(lambda: plant.online_again(online) if name == "broker" else plant.healthy())
    after = plant.pids()
    assert {each: pid for each, pid in after.items() if each != name} == {
        each: pid for each, pid in before.items() if each != name
    }


def test_a_killed_supervisor_is_restarted_with_everything(plant: Plant) -> None:
    before, online = plant.left(), plant.online()
    old = plant.kill("supervisord")
    assert eventually(lambda: plant.pids().get("supervisord", old) != old)
    assert eventually(lambda: plant.online_again(online))
    assert all(orphans.has_ended(each) for each in before)
    assert set(plant.pids()) == {"supervisord", "guardian", "broker", *STARTED}


def test_the_start_of_the_supervisor_is_retried(plant: Plant) -> None:
    log, online = plant.place.logs / "guardian.log", plant.online()
    aside = plant.place.configuration.rename(plant.place.configuration.with_suffix(".aside"))
    try:
        old = plant.kill("supervisord")
        assert eventually(lambda: "next attempt" in log.read_text())
    finally:
        aside.rename(plant.place.configuration)
    assert eventually(lambda: plant.pids().get("supervisord", old) != old)
    assert eventually(lambda: plant.online_again(online))


def test_only_a_replaced_program_is_not_restarted(tmp_path: Path) -> None:
    codes = {"exits-0": 0, "exits-1": 1, "exits-75": TAKEN_OVER_EXIT}
    place = Place(data_dir=tmp_path.resolve())
    place.logs.mkdir()
    programs = [_program(name, f"import sys, time; time.sleep(1.5); sys.exit({code})") for name, code in codes.items()]
    programs.append(_program("killed", "import time; time.sleep(600)"))
    place.configuration.write_text(supervision.configuration(place, programs, {}))
    supervisor, mark = Supervisor(place), orphans.new_mark(place.data_dir)
    guardian.start_supervisor(place.configuration, mark, autostart=True)
    try:
        assert supervisor.wait(10)
        seen: dict[str, set[int]] = {each.name: set() for each in programs}

        def each_started_three_times() -> bool:
            known = supervisor.processes()
            for name, each in known.items():
                seen[name] |= {each.pid} - {0}
            if known["killed"].state == "RUNNING" and len(seen["killed"]) < 3:
                os.kill(known["killed"].pid, signal.SIGKILL)
            return all(len(pids) >= 3 for name, pids in seen.items() if name != "exits-75")

        assert eventually(each_started_three_times)
        assert len(seen["exits-75"]) == 1
        assert supervisor.processes()["exits-75"].state == "EXITED"
    finally:
        supervisor.shut_down()
        orphans.stop(mark)


def _program(name: str, code: str) -> Program:
    return Program(name=name, command=(sys.executable, "-c", code), directory=ROOT, group=orphans.COMPONENTS)


def test_a_replaced_component_stays_stopped_until_up(plant: Plant) -> None:
    name = next(each for each in STARTED if each != "recorder")
    # One that has only just started would be started once more, see `supervision`.
    assert eventually(lambda: Supervisor(plant.place).processes()[name].state == "RUNNING")
    other = subprocess.Popen(
        [sys.executable, "-m", "adapters.cli.main", "run", name],
        cwd=ROOT,
        env=plant.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert eventually(lambda: Supervisor(plant.place).processes()[name].state == "EXITED")
        assert eventually(plant.healthy), "the other instance is online"
        assert name not in plant.pids()
        assert other.poll() is None
    finally:
        other.terminate()
        assert other.wait(20) == 0
    status = plant.make("status")
    assert status.returncode == 1
    assert json.loads(next(line for line in status.stdout.splitlines() if f'"{name}"' in line))["state"] == "offline"
    assert plant.make("up").returncode == 0
    assert plant.healthy()


def test_retained_messages_survive_a_broker_that_is_killed(plant: Plant) -> None:
    setpoint = heating.SETPOINT.publication(heating.Setpoint(celsius=19.5), room="room-lifecycle")
    topic = setpoint.topic
    with connected(plant.settings.broker_address("operator")) as bus:
        bus.publish(setpoint)
    saved = plant.settings.data_dir / "broker" / "mosquitto.db"
    published_at = time.time()
    assert eventually(lambda: saved.is_file() and saved.stat().st_mtime > published_at + 0.5)
    online, before = plant.online(), plant.kill("broker")
    assert eventually(lambda: plant.pids().get("broker", before) != before)
    assert eventually(lambda: plant.online_again(online))
    with connected(plant.settings.broker_address("operator")) as bus:
        assert bus.retained(topic)[topic].payload == setpoint.payload


def test_two_concurrent_ups_start_one_system(own_plant: Plant) -> None:
    command = [sys.executable, "-m", "adapters.cli.main", "up"]
    ups = [
        subprocess.Popen(command, cwd=ROOT, env=own_plant.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert [each.wait(120) for each in ups] == [0, 0]
    assert len(own_plant.left()) == len(STARTED) + len(("broker", "guardian", "supervisord"))
    assert own_plant.make("down").returncode == 0
    assert own_plant.left() == []
    assert own_plant.ports_are_free()
    assert not (own_plant.settings.data_dir / "plant-epoch").exists()


def test_plant_time_continues_in_every_later_run(own_plant: Plant) -> None:
    """After a stop, and after a crash of everything at once."""
    for ends in ("stop", "crash", "stop"):
        assert own_plant.make("up").returncode == 0
        wanted = recorded_readings(own_plant) + 20
        assert eventually(partial(has_recorded, own_plant, wanted))
        if ends == "stop":
            assert own_plant.make("down").returncode == 0
        else:
            for process in sorted(own_plant.left(), key=lambda each: "guardian" not in " ".join(each.cmdline())):
                process.kill()
            assert eventually(lambda: own_plant.left() == [])
    with duckdb.connect(str(own_plant.settings.database), read_only=True) as connection:
        runs = connection.execute(
            "SELECT min(event_at), max(event_at) FROM live.messages WHERE source = 'sim-rooms' AND event_at IS NOT NULL "
            "GROUP BY boot ORDER BY min(number)"
        ).fetchall()
    assert len(runs) >= 3
    assert all(earlier[1] < later[0] for earlier, later in pairwise(runs))


def has_recorded(plant: Plant, readings: int) -> bool:
    return recorded_readings(plant) >= readings


def recorded_readings(plant: Plant) -> int:
    session = ["-m", "adapters.cli.main", "query", "-o", "csv", "SELECT count(*) AS n FROM room_temperature"]
    done = subprocess.run(
        [sys.executable, *session], cwd=ROOT, env=plant.environment, capture_output=True, text=True, timeout=60, check=False
    )
    return int(done.stdout.split()[-1]) if done.returncode == 0 else 0


def test_down_stops_orphans_of_a_killed_supervisor(own_plant: Plant) -> None:
    assert own_plant.make("up").returncode == 0
    pids = own_plant.pids()
    os.kill(pids["guardian"], signal.SIGSTOP)  # so that it cannot heal in between
    os.kill(pids["supervisord"], signal.SIGKILL)
    os.kill(pids["guardian"], signal.SIGKILL)
    assert len(own_plant.left()) >= len(STARTED) + 1
    assert own_plant.make("down").returncode == 0
    assert own_plant.left() == []
    assert own_plant.ports_are_free()


def test_up_replaces_orphans_of_a_killed_supervisor(own_plant: Plant) -> None:
    assert own_plant.make("up").returncode == 0
    before = own_plant.left()
    pids = own_plant.pids()
    os.kill(pids["guardian"], signal.SIGSTOP)
    os.kill(pids["supervisord"], signal.SIGKILL)
    os.kill(pids["guardian"], signal.SIGKILL)
    assert own_plant.make("up").returncode == 0
    assert all(orphans.has_ended(each) for each in before)
    assert own_plant.healthy()


def test_down_where_nothing_runs_succeeds(own_plant: Plant) -> None:
    down = own_plant.make("down")
    assert down.returncode == 0
    assert "nothing runs" in down.stderr


def test_a_taken_port_is_named_with_its_process_and_the_fix(own_plant: Plant) -> None:
    with socket.create_server(("127.0.0.1", own_plant.settings.mqtt_port)):
        up = own_plant.make("up")
    assert up.returncode == 1
    assert f"port {own_plant.settings.mqtt_port} is taken by" in up.stderr
    assert f"(pid {os.getpid()})" in up.stderr
    assert "SCAUP_MQTT_PORT=" in up.stderr
    assert own_plant.left() == []


def test_only_the_named_components_are_started(tmp_path: Path) -> None:
    first = next(name for name in STARTED if name != "recorder")
    made = new_plant(tmp_path.resolve(), SCAUP_COMPONENTS=first)
    try:
        assert made.make("up").returncode == 0
        assert set(made.pids()) == {"supervisord", "guardian", "broker", first}
    finally:
        made.make("down")


def test_data_directory_too_deep_for_a_socket(tmp_path: Path) -> None:
    made = new_plant((tmp_path / ("deep" * 25)).resolve())
    try:
        up = made.make("up")
        assert up.returncode == 0, up.stderr
        assert made.place.socket.stat().st_mode & 0o077 == 0
        assert made.place.socket.parent.stat().st_mode & 0o077 == 0
    finally:
        made.make("down")
    assert made.left() == []
    assert not made.place.socket.parent.exists()
