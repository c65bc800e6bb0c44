"""The lake with real servers: what a site records is in the lake exactly once, whatever is killed, restored or copied."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adapters.launcher import preflight
from tests.databases import open_database
from tests.real_broker import RealBroker
from tests.real_lake import Servers, scaup

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(180),
    pytest.mark.skipif(preflight.find_postgres("initdb") is None, reason="postgresql is not installed"),
]
COUNTS = (
    "SELECT count(*) AS n, coalesce(sum(hash(number, topic, payload, payload_raw, received_at)), 0)::VARCHAR AS h FROM messages"
)
TYPED = "SELECT count(*) AS n, coalesce(sum(hash(number, room, sensor, celsius)), 0)::VARCHAR AS h FROM room_temperature"


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    started = Servers.started()
    yield started
    started.remove()


@pytest.fixture(scope="module")
def site_file(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lake") / "site.toml"
    printed = scaup({**os.environ, **servers.variables}, "lake", "init", *servers.options)
    path.write_text(printed)
    return path


@dataclass
class Site:
    """A site with a broker and data directory of its own; its processes are started one by one."""

    broker: RealBroker
    servers: Servers
    site_file: Path
    name: str
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def data_dir(self) -> Path:
        return self.broker.data_dir

    @property
    def environment(self) -> dict[str, str]:
        return self.broker.environment

    def join(self, *options: str, code: int = 0, name: str = "") -> None:
        variables = {**self.environment, **self.servers.variables}
        scaup(variables, "lake", "join", str(self.site_file), "--site", name or self.name, *options, code=code)

    def start(self, module: str, name: str = "", **environment: str) -> "subprocess.Popen[bytes]":
        with (self.data_dir / f"{name or module}.log").open("ab") as log:
            self.processes[name or module] = subprocess.Popen(
                [sys.executable, "-m", module], env={**self.environment, **environment}, stdout=log, stderr=log
            )
        return self.processes[name or module]

    def stop(self, name: str) -> int:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGCONT)
        process.terminate()
        return process.wait(60)

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait(10)

    def log(self, name: str) -> str:
        return (self.data_dir / f"{name}.log").read_text()

    def publish(self, count: int, start: int = 0) -> None:
        """Publish readings, each with a value of its own."""
        values = ({"sensorID": f"s-{n % 5}", "type": "temperature", "value": n % 40 + 0.5} for n in range(start, start + count))
        lines = "".join(json.dumps(each) + "\n" for each in values)
        command = ["mosquitto_pub", "-h", self.broker.host, "-p", str(self.broker.port), "-q", "1", "-l"]
        subprocess.run([*command, "-t", "/readings/room-1/temperature"], input=lines.encode(), check=True, timeout=60)

    def recorded(self, sql: str = COUNTS) -> dict[str, object]:
        """Ask the database file, when no recorder runs."""
        return dict(json.loads(scaup(self.environment, "query", sql, "-o", "jsonl")))

    def forwarded(self, sql: str = COUNTS, name: str = "") -> dict[str, object]:
        asked = f"{sql} WHERE site = '{name or self.name}'"
        return dict(json.loads(scaup(self.environment, "lake", "query", asked, "--lake-only", "-o", "jsonl")))

    def row(self) -> dict[str, str]:
        columns = ("incarnation", "epoch", "upto")
        text = self.servers.postgres.sql(f"SELECT {', '.join(columns)} FROM scaup_site WHERE site = '{self.name}'")
        return dict(zip(columns, text.split("|"), strict=True))

    def wait_for(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        ends_s = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < ends_s, {path.name: path.read_text()[-1500:] for path in self.data_dir.glob("*.log")}
            time.sleep(0.1)

    def finish(self) -> None:
        """Stop the recorder, then the forwarder, as `make down` does; what was recorded is then in the lake, and once."""
        if "storage" in self.processes:
            assert self.stop("storage") == 0
        if "adapters.lake" not in self.processes:
            self.start("adapters.lake")
        number = self.recorded("SELECT max(number) AS n FROM messages")["n"]
        self.wait_for(lambda: self.row()["upto"] == str(number))
        assert self.stop("adapters.lake") == 0
        assert self.forwarded() == self.recorded()
        assert self.forwarded(TYPED) == self.recorded(TYPED)

    def fill(self, messages: int = 500) -> None:
        """Record without a broker: messages straight into the database file."""
        from tests.storage.conftest import Past, a_day

        database = open_database(self.data_dir / "scaup.duckdb")
        from datetime import date

        past = Past(database)
        for _ in range(max(1, messages // 50)):
            past.record(date(2026, 11, 30), a_day(40))
        database.close()


@pytest.fixture
def site(own_broker: RealBroker, servers: Servers, site_file: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    made = Site(own_broker, servers, site_file, request.node.name.removeprefix("test_")[:38].strip("_"))
    yield made
    for process in made.processes.values():
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait(10)


def test_kills_of_everything_lose_and_double_nothing(site: Site) -> None:
    site.join()
    site.start("storage")
    site.start("adapters.lake")
    site.wait_for(lambda: "connected to" in site.log("storage") and "new session" in site.log("storage"))
    for number in range(4):
        site.publish(3_000, number * 3_000)
        time.sleep(1.2)
        match number:
            case 0:
                site.kill("adapters.lake")
                site.start("adapters.lake")
            case 1:
                site.kill("storage")
                site.start("storage")
            case 2:
                site.servers.postgres.kill()
                time.sleep(1)
                site.servers.postgres.start()
            case 3:
                site.servers.store.kill()
                time.sleep(1)
                site.servers.store.start()
    site.wait_for(lambda: site.log("storage").count("as scaup-recorder") >= 2)
    time.sleep(1)
    site.finish()
    assert site.recorded("SELECT count(*) AS n FROM messages WHERE topic LIKE '/readings/%'")["n"] == 12_000
    assert scaup(site.environment, "lake", "status", "-o", "jsonl").count("\n") == 1  # its own row only
