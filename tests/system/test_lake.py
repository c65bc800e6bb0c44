"""The lake with real servers: what a site records is in the lake exactly once, whatever is killed, restored or copied."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import duckdb
import pytest
from pyarrow import dataset, fs

from adapters.launcher import preflight
from broker.contract.outbox import Range
from storage.database.database import Database
from storage.outbox.export import OutboxFiles, read_number
from tests.databases import open_database
from tests.real_broker import RealBroker
from tests.real_lake import KEY, SECRET, Cutter, Servers, scaup
from tests.storage.conftest import Past, a_day

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


@dataclass
class Cell:
    """A site without a broker: its database is filled here, its outbox written as the recorder does, and forwarded for real."""

    servers: Servers
    site_file: Path
    data_dir: Path
    name: str
    forwarder: "subprocess.Popen[bytes] | None" = None
    catalog_port: int = 0

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SCAUP_DATA_DIR": str(self.data_dir), "SCAUP_MQTT_PORT": "9"}

    def join(self, *options: str, code: int = 0) -> None:
        variables = {**self.environment, **self.servers.variables}
        scaup(variables, "lake", "join", str(self.site_file), "--site", self.name, *options, code=code)
        if self.catalog_port:
            path = self.data_dir / "lake.toml"
            path.write_text(path.read_text().replace(f":{self.servers.postgres.port}/", f":{self.catalog_port}/"))

    def record(self, batches: int = 4, hour: float = 0) -> None:
        """Record, and close what was recorded into the outbox, a range for each batch."""
        database = open_database(self.data_dir / "scaup.duckdb")
        past, files = Past(database), OutboxFiles(database)
        for _ in range(batches):
            past.record(date(2026, 11, 30), a_day(40), hour)
            files.write(Range(files.closed() + 1, database.last_number))
        while (closed := files.closed()) < database.last_number:  # what a restored catalog lacks
            files.write(Range(closed + 1, database.last_number))
        files.note_recorded(database.last_number)
        database.close()

    def forward(self) -> "subprocess.Popen[bytes]":
        with (self.data_dir / "forwarder.log").open("ab") as log:
            command = [sys.executable, "-m", "adapters.lake"]
            self.forwarder = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        return self.forwarder

    def stop(self) -> None:
        assert self.forwarder
        self.forwarder.terminate()
        assert self.forwarder.wait(60) == 0, self.log
        self.forwarder = None

    @property
    def log(self) -> str:
        return (self.data_dir / "forwarder.log").read_text()

    def column(self, name: str) -> str:
        return self.servers.postgres.sql(f"SELECT {name} FROM scaup_site WHERE site = '{self.name}'")

    def last_number(self) -> int:
        with duckdb.connect(str(self.data_dir / "scaup.duckdb"), read_only=True) as connection:
            return int(connection.execute("SELECT max(number) FROM live.messages").fetchall()[0][0])

    def wait_for(self, condition: Callable[[], bool], seconds: float = 90) -> None:
        ends_s = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < ends_s, self.log[-3000:]
            time.sleep(0.1)

    def wait_until_forwarded(self) -> None:
        number = str(self.last_number())
        self.wait_for(lambda: self.column("upto") == number)

    def assert_equal(self) -> None:
        """Compare database and lake by count and hash of every column."""
        own = f"FROM messages WHERE site = '{self.name}'"
        columns = "number, received_at, event_at, topic, payload, payload_raw, qos, retain, source, boot, seq"
        sums = f"SELECT count(*) AS n, sum(hash({columns}))::VARCHAR AS h"
        typed = "SELECT count(*) AS n, sum(hash(number, room, sensor, celsius))::VARCHAR AS h FROM room_temperature"
        lake = [
            json.loads(scaup(self.environment, "lake", "query", sql, "--lake-only", "-o", "jsonl"))
            for sql in (f"{sums} {own}", f"{typed} WHERE site = '{self.name}'")
        ]
        site = [json.loads(scaup(self.environment, "query", sql, "-o", "jsonl")) for sql in (f"{sums} FROM messages", typed)]
        assert lake == site

    def end(self) -> None:
        if self.forwarder is not None and self.forwarder.poll() is None:
            self.forwarder.send_signal(signal.SIGCONT)
            self.forwarder.kill()
            self.forwarder.wait(10)


@pytest.fixture
def cell(servers: Servers, site_file: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Cell]:
    made = Cell(servers, site_file, tmp_path / "data", request.node.name.removeprefix("test_")[:38].strip("_"))
    made.data_dir.mkdir()
    yield made
    made.end()


def test_frozen_forwarder_is_fenced_when_it_thaws(cell: Cell) -> None:
    cell.join()
    cell.record()
    first = cell.forward()
    cell.wait_until_forwarded()
    first.send_signal(signal.SIGSTOP)
    cell.record()
    second = cell.forward()
    cell.wait_until_forwarded()
    cell.record(1)
    first.send_signal(signal.SIGCONT)
    assert first.wait(60) == 75, cell.log
    cell.wait_until_forwarded()
    assert second.poll() is None
    cell.stop()
    cell.assert_equal()
    store = fs.S3FileSystem(access_key=KEY, secret_key=SECRET, endpoint_override=cell.servers.store.endpoint, scheme="http")
    files = dataset.dataset(f"lake/plants/main/messages/site={cell.name}", filesystem=store, format="parquet")
    assert files.count_rows() == cell.last_number(), "any tool that reads Parquet reads it"


def test_copy_of_the_data_directory_forwards_nothing(cell: Cell, tmp_path: Path) -> None:
    cell.join()
    cell.record()
    copied = Cell(cell.servers, cell.site_file, tmp_path / "copy", cell.name)
    shutil.copytree(cell.data_dir, copied.data_dir)
    copied.record()
    assert copied.forward().wait(60) == 4
    assert f"is a copy of site {cell.name}'s data directory, which is {cell.data_dir}" in copied.log
    assert cell.column("upto") == "0"
    copied.join(code=4)
    copied.join("--takeover")
    copied.forward()
    copied.wait_until_forwarded()
    copied.stop()
    copied.assert_equal()


def test_takeover_forwards_only_what_the_lake_lacks(cell: Cell, tmp_path: Path) -> None:
    cell.join()
    cell.record()
    restored = Cell(cell.servers, cell.site_file, tmp_path / "restored", cell.name)
    restored.data_dir.mkdir()
    shutil.copy(cell.data_dir / "scaup.duckdb", restored.data_dir / "scaup.duckdb")  # a backup
    backed_up = cell.last_number()
    cell.record()
    cell.forward()
    cell.wait_until_forwarded()
    cell.stop()
    restored.record(2, hour=5)  # another history than the one after the backup
    restored.join("--takeover")
    restored.forward()
    restored.wait_until_forwarded()
    restored.stop()
    sql = f"SELECT count(*) AS n, min(number) AS first FROM messages WHERE site = '{cell.name}' GROUP BY incarnation ORDER BY n"
    counts = [json.loads(line) for line in scaup(restored.environment, "lake", "query", sql, "--lake-only").splitlines()]
    new = restored.last_number() - backed_up
    assert counts == [{"n": new, "first": backed_up + 1}, {"n": cell.last_number(), "first": 1}]


def test_trigger_is_asked_for_and_nothing_is_doubled(cell: Cell) -> None:
    cell.join()
    cell.record()
    cell.forward()
    cell.wait_until_forwarded()
    cell.servers.postgres.sql("DROP TRIGGER scaup_forward ON ducklake_snapshot_changes")
    cell.record()
    cell.wait_for(lambda: "trigger scaup_forward is missing" in cell.log)
    scaup(cell.environment, "doctor", "-o", "json", code=1).index("trigger")
    scaup({**os.environ, **cell.servers.variables}, "lake", "init", *cell.servers.options)
    cell.wait_until_forwarded()
    cell.servers.postgres.sql(f"UPDATE scaup_site SET upto = upto - 50 WHERE site = '{cell.name}'")  # as without the trigger
    cell.stop()
    cell.forward()
    cell.wait_until_forwarded()
    cell.record(1)
    cell.wait_until_forwarded()
    cell.stop()
    cell.assert_equal()


def test_restored_catalog_gets_what_it_lacks(cell: Cell, tmp_path: Path) -> None:
    cell.join()
    cell.record()
    cell.forward()
    cell.wait_until_forwarded()
    postgres = cell.servers.postgres
    postgres.stop()
    subprocess.run(["cp", "-a", postgres.data, postgres.folder / "older"], check=True)
    postgres.start()
    cell.record()
    cell.wait_until_forwarded()
    cell.wait_for(lambda: not list(cell.data_dir.glob("outbox/*/*-*")))  # it keeps nothing that the lake has
    postgres.stop()
    shutil.rmtree(postgres.data)
    (postgres.folder / "older").rename(postgres.data)
    postgres.start()
    older = int(cell.column("upto"))
    assert older < cell.last_number()
    cell.wait_for(lambda: read_number(next(cell.data_dir.glob("outbox/*/upto"))) == older)
    cell.record(1)
    cell.wait_until_forwarded()
    cell.stop()
    cell.assert_equal()


def test_new_database_file_is_a_new_incarnation(cell: Cell) -> None:
    cell.join()
    cell.record(2)
    cell.forward()
    cell.wait_until_forwarded()
    before = cell.column("incarnation")
    for path in cell.data_dir.iterdir():
        if path.name not in ("lake.toml", "credentials", "forwarder.log"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    Database(cell.data_dir / "scaup.duckdb", 256, 1).close()  # not the copy that other tests start from
    cell.record(3)
    cell.wait_for(lambda: cell.column("incarnation") != before)
    cell.wait_until_forwarded()
    cell.stop()
    sql = f"SELECT count(*) AS n, count(DISTINCT incarnation) AS i FROM messages WHERE site = '{cell.name}'"
    found = json.loads(scaup(cell.environment, "lake", "query", sql, "--lake-only"))
    assert found == {"n": cell.last_number() // 3 * 5, "i": 2}


def test_commit_whose_answer_is_lost_is_not_repeated(cell: Cell) -> None:
    with Cutter(cell.servers.postgres.port) as cutter:
        cell.catalog_port = cutter.port
        cell.join()
        cell.record()
        cell.forward()
        cell.wait_until_forwarded()
        for _ in range(3):
            cutter.arm()
            cell.record(2)
            cell.wait_until_forwarded()
            cell.wait_for(lambda: not cutter.armed)
        assert cutter.cuts == 3
        cell.stop()
        cell.assert_equal()


def test_account_of_a_site_has_the_least_rights(cell: Cell, tmp_path: Path) -> None:
    cell.join()
    other = Cell(cell.servers, cell.site_file, tmp_path / "other", "other-site")
    other.join()
    own = tomllib.loads((cell.data_dir / "lake.toml").read_text())
    assert (cell.data_dir / "lake.toml").stat().st_mode & 0o777 == 0o600
    url = own["catalog"].replace("postgres@", f"{own['account']}:{own['password']}@")

    def ask(sql: str) -> tuple[int, str]:
        done = subprocess.run(["psql", "-XAt", url, "-c", sql], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.strip() + done.stderr

    assert ask("SELECT site FROM scaup_site") == (0, cell.name)
    assert ask("UPDATE scaup_site SET upto = 5 WHERE site = 'other-site'") == (0, "UPDATE 0")
    for refused in (
        "UPDATE scaup_site SET machine = 'x'",
        "DROP TRIGGER scaup_forward ON ducklake_snapshot_changes",
        "CREATE ROLE x",
        "CREATE TABLE x (y int)",
        "INSERT INTO ducklake_snapshot_changes VALUES (999, 'inserted_into_table:1', NULL, NULL, NULL)",
        "INSERT INTO ducklake_snapshot_changes VALUES (999, 'inserted_into_table:1', 'scaup-forward', '', "
        """'{"site":"other-site","epoch":0,"incarnation":"","first":1,"last":9}')""",
    ):
        assert ask(refused)[0] == 1, refused
    assert [scaup(cell.environment, "lake", "query", each, code=code) for each, code in (("drop table messages", 4),)] == [""]
    scaup(cell.environment, "lake", "leave")
    assert not (cell.data_dir / "lake.toml").exists()
