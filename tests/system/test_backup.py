"""Backups of a recorder under load: consistent, incremental, restored elsewhere, and whole after every kill -9."""

import json
import multiprocessing
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from broker.runtime.settings import ROOT
from tests import real_broker
from tests.bench.recorder_backlog import Fleet, publish_evenly
from tests.real_broker import RealBroker
from tests.system.test_cli import SCAUP, recording, scaup, wait_until
from tests.system.test_recorder import connected_to, publish

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

RATE_PER_S = 5_000


@contextmanager
def under_load(broker: RealBroker, first: int, duration_s: float) -> Iterator[None]:
    arguments = (broker.host, broker.port, Fleet(200, first=first), RATE_PER_S, duration_s)
    process = multiprocessing.get_context("spawn").Process(target=publish_evenly, args=arguments)
    process.start()
    try:
        yield
        process.join(60)
        assert process.exitcode == 0
    finally:
        process.kill()


def backed_up(result: "subprocess.CompletedProcess[str]") -> tuple[int, float]:
    """Return the message number of a backup, and the kilobytes that were written."""
    assert result.returncode == 0, result.stderr
    found = re.search(r"up to ([\d,]+) .* with ([\d,.]+) (kB|MB) written", result.stdout)
    assert found, result.stdout
    number, size = (each.replace(",", "") for each in found.groups()[:2])
    return int(number), float(size) * (1000 if found[3] == "MB" else 1)


def content(database: Path, number: int) -> dict[str, tuple[int, int]]:
    """Return count and checksum of every numbered table up to a message."""
    with duckdb.connect(str(database), read_only=True) as connection:
        sql = "SELECT table_name FROM duckdb_columns() WHERE schema_name = 'live' AND column_name = 'number'"
        names = [name for (name,) in connection.execute(sql).fetchall()]
        rows = "SELECT count(*), coalesce(sum(hash(row)), 0) FROM (SELECT * FROM live.{} WHERE number <= {}) AS row"
        return {name: connection.execute(rows.format(name, number)).fetchall()[0] for name in sorted(names)}


def run(command: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*SCAUP, command, *arguments],
        env={**os.environ, **environment},
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )


def secrets(data_dir: Path) -> dict[str, tuple[str, int]]:
    """Return what is in the credentials of a data directory, with the mode of each file."""
    return {each.name: (each.read_text(), each.stat().st_mode) for each in (data_dir / "credentials").iterdir()}


def set_room(broker: RealBroker, celsius: float) -> None:
    with connected_to(broker, "operator") as client:
        sent = client.publish("heating/room-1/setpoint", b'{"celsius":%.1f}' % celsius, qos=1, retain=True)
        sent.wait_for_publish(10)


def restored_system(folder: Path, data_dir: Path) -> RealBroker:
    """Restore a backup and return a broker, not started, for the restored data directory."""
    done = run("restore", str(folder), SCAUP_DATA_DIR=str(data_dir))
    assert done.returncode == 0, done.stderr
    return real_broker.create(data_dir)


def test_backup_under_load_is_restored_and_balances(tmp_path: Path, own_broker: RealBroker) -> None:
    folder = tmp_path / "backup"
    with recording(own_broker):
        set_room(own_broker, 23.5)
        with under_load(own_broker, 0, 4):
            time.sleep(1.5)
            first = backed_up(scaup(own_broker, "backup", str(folder)))
            second = backed_up(scaup(own_broker, "backup", str(folder)))
        publisher_is_recorded(own_broker)
        third = backed_up(scaup(own_broker, "backup", str(folder)))
    assert 0 < first[0] < second[0]
    assert first[0] < 4 * RATE_PER_S < third[0]
    assert second[1] < first[1] + 200  # a few small files, whatever the first had to write
    assert scaup(own_broker, "backup", str(folder), "--check").returncode == 0
    assert (folder / "files/credentials").is_dir()
    assert {each.stat().st_mode & 0o777 for each in (folder / "files/credentials").iterdir()} == {0o600}

    broker = restored_system(folder, tmp_path / "restored")
    assert content(broker.settings.database, third[0]) == content(own_broker.settings.database, third[0])
    assert secrets(broker.data_dir) == secrets(own_broker.data_dir)
    try:
        broker.start()
        with recording(broker):
            with connected_to(broker) as device:
                publish(device, "/readings/room-1/temperature", b'{"sensorID":"s","type":"temperature","value":21}')
            assert scaup(broker, "verify").returncode == 0
            assert scaup(broker, "gaps").stdout.strip() in ("", "[]")
            sql = "SELECT count(*) AS n FROM messages WHERE topic = '/readings/room-1/temperature' AND payload LIKE '%:21}'"
            assert json.loads(scaup(broker, "query", sql, "-o", "jsonl").stdout)["n"] == 1
            assert (
                '"celsius":23.5'
                in json.loads(scaup(broker, "last", "heating/room-1/setpoint", "-o", "jsonl").stdout)["payload"]
            )
    finally:
        real_broker.remove(broker)


def test_killed_backups_leave_the_one_before_them(tmp_path: Path, own_broker: RealBroker) -> None:
    folder = tmp_path / "backup"
    with under_load_and_recorder(own_broker, 6) as recorder:
        set_room(own_broker, 19)
        first = backed_up(scaup(own_broker, "backup", str(folder)))
        for pause_s in (0.5, 1.0):
            process = start_backup(own_broker, folder)
            time.sleep(pause_s)
            process.kill()
            process.communicate()
            assert checked(own_broker, folder) >= first[0]
        two = [start_backup(own_broker, folder) for _ in range(2)]
        texts = [each.communicate(timeout=60)[1] for each in two]
        assert sorted(each.returncode for each in two) == [0, 1], texts
        assert any("another backup of" in text for text in texts)
        last = start_backup(own_broker, folder)
        time.sleep(0.7)
        recorder.kill()  # the command reads the file itself, or says that it cannot
        assert last.wait(60) in (0, 1, 3)
        last.communicate()
    number = checked(own_broker, folder)
    recorder.wait()
    from_file = backed_up(scaup(own_broker, "backup", str(folder)))
    assert from_file[0] >= number
    assert checked(own_broker, folder) == from_file[0]
    assert not (own_broker.data_dir / "backing-up").exists()
    inside = scaup(own_broker, "backup", str(own_broker.data_dir / "backups"))
    assert inside.returncode == 1
    assert "another disk" in inside.stderr


@contextmanager
def under_load_and_recorder(broker: RealBroker, duration_s: float) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a recorder that a test may kill, under load."""
    with (broker.data_dir / "recorder.log").open("ab") as log:
        process = subprocess.Popen([*SCAUP, "run", "recorder"], env=broker.environment, cwd=ROOT, stderr=log)
    try:
        wait_until(lambda: scaup(broker, "status", "recorder").returncode == 0)
        with under_load(broker, 0, duration_s):
            yield process
    finally:
        process.kill()
        process.wait()


def publisher_is_recorded(broker: RealBroker) -> None:
    """Wait until nothing is queued: a backup after that has all messages."""
    sql = "SELECT count(*) AS n FROM messages WHERE starts_with(topic, '/readings/')"
    wait_until(lambda: json.loads(scaup(broker, "query", sql, "-o", "jsonl").stdout)["n"] >= 4 * RATE_PER_S)


def checked(broker: RealBroker, folder: Path) -> int:
    result = scaup(broker, "backup", str(folder), "--check")
    assert result.returncode == 0, result.stderr
    found = re.search(r"up to ([\d,]+)", result.stdout)
    assert found
    return int(found[1].replace(",", ""))


def start_backup(broker: RealBroker, folder: Path) -> "subprocess.Popen[str]":
    command = [*SCAUP, "backup", str(folder)]
    return subprocess.Popen(
        command, env=broker.environment, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
