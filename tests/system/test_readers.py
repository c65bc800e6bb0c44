"""Processes that read the database file while a recorder starts."""

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from broker.runtime.settings import ROOT
from tests.real_broker import RealBroker
from tests.system.test_recorder import RecorderProcess

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

SCAUP = (sys.executable, "-m", "adapters.cli.main")
HOLD = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1], read_only=True)
print("held", flush=True)
sys.stdin.read()
"""
"""Holds the database until its standard input ends."""


@pytest.fixture
def recorder(own_broker: RealBroker) -> Iterator[RecorderProcess]:
    """A recorder that has created its database and is killed."""
    process = RecorderProcess(own_broker)
    process.start()
    process.wait_until_online()
    process.stop()
    yield process
    process.kill()


def log_of(recorder: RecorderProcess) -> str:
    return (recorder.broker.data_dir / "recorder.log").read_text()


def test_recorder_waits_for_a_reader_and_names_it(recorder: RecorderProcess) -> None:
    command = [sys.executable, "-c", HOLD, str(recorder.broker.settings.database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        assert reader.stdout.readline()
        recorder.start()
        while f"held by process {reader.pid}" not in log_of(recorder):
            time.sleep(0.05)
        reader.stdin.close()
        recorder.wait_until_online()
    assert "waiting up to 10 s" in log_of(recorder)


def test_recorder_ends_where_a_reader_stays(recorder: RecorderProcess) -> None:
    command = [sys.executable, "-c", HOLD, str(recorder.broker.settings.database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline()
        recorder.start()
        assert recorder.running is not None
        assert recorder.running.wait(40) == 1
        reader.kill()
    assert f"held by process {reader.pid}, which is no recorder, but reads it: end that process" in log_of(recorder)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM range(100000) a, range(100000) b, range(1000) c",  # runs for long
        "SELECT range AS n, repeat('x', 100) AS t FROM range(900000)",  # waits for a pipe without a reader
    ],
)
def test_command_gives_way_to_a_starting_recorder(recorder: RecorderProcess, sql: str) -> None:
    environment = {**recorder.broker.environment, "SCAUP_MQTT_PORT": "1"}  # no broker there: the file answers
    command = [*SCAUP, "query", sql]
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reader:
        time.sleep(4)
        assert reader.poll() is None
        recorder.start()
        recorder.wait_until_online()
        _, errors = reader.communicate(timeout=20)
    assert reader.returncode == 3, errors
    assert b"a recorder starts and needs the database file" in errors
