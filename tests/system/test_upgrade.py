"""`make up` in a checkout of another release: it stops, migrates, starts, and leaves the database where a migration fails."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import psutil
import pytest

from broker.runtime.settings import ROOT
from tests.real_broker import own_ports

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

SLOW = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE hash(a, b) = 1"


@dataclass
class Checkout:
    """The sources of one release, in a folder of their own, and one system."""

    folder: Path
    data_dir: Path
    ports: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        own = {"SCAUP_DATA_DIR": str(self.data_dir), "SCAUP_COMPONENTS": "recorder", "RUNTIME": "native"}
        return {**os.environ, **self.ports, **own, "PYTHONPATH": str(self.folder)}

    def add_migration(self, sql: str) -> Path:
        path = self.folder / "storage/database/migrations/9000_added.sql"
        path.write_text(sql)
        return path

    def start(self, command: str) -> "subprocess.Popen[str]":
        words = [sys.executable, "-m", "adapters.cli.main", command]
        return subprocess.Popen(
            words, cwd=self.folder, env=self.environment, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    def run(self, command: str) -> tuple[int, str]:
        process = self.start(command)
        _, text = process.communicate(timeout=120)
        return process.returncode, text

    def migrations(self) -> list[int]:
        with duckdb.connect(str(self.data_dir / "scaup.duckdb"), read_only=True) as connection:
            return [each for (each,) in connection.execute("SELECT number FROM schema_migration").fetchall()]


@pytest.fixture
def newer(tmp_path: Path) -> Iterator[Checkout]:
    """A copy of this release that a test changes, with nothing running."""
    folder = tmp_path / "newer"
    for name in ("broker", "controllers", "adapters", "sim", "storage"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("mosquitto.conf", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder / name)
    made = Checkout(folder, tmp_path / "data", own_ports())
    yield made
    made.run("down")


def test_make_up_of_a_newer_release_migrates_or_changes_nothing(newer: Checkout) -> None:
    code, text = newer.run("up")
    assert code == 0, text
    failing = newer.add_migration("SELECT error('no room for a column')")
    code, text = newer.run("up")
    assert code == 1
    assert text.index("upgrading from ") < text.index("stopping ") < text.index("migrating the database ")
    assert "migration 9000 failed: Invalid Input Error: no room for a column; the database is unchanged" in text
    assert "Fix: to go back:" in text
    assert 9000 not in newer.migrations()

    newer.add_migration(f"CREATE TABLE live.added AS {SLOW}")
    process = newer.start("up")
    child = migrating(process.pid)
    time.sleep(0.3)
    child.send_signal(signal.SIGKILL)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the database is unchanged" in text
    assert 9000 not in newer.migrations()

    process = newer.start("up")
    child = migrating(process.pid)
    process.kill()
    process.communicate()
    assert child.wait(10) is None or not child.is_running()
    assert 9000 not in newer.migrations()

    failing.unlink()
    assert newer.run("up")[0] == 0, "the release before goes on"
    newer.add_migration("CREATE TABLE live.added (number BIGINT NOT NULL, received_at TIMESTAMPTZ NOT NULL)")
    code, text = newer.run("up")
    assert code == 0, text
    assert "migrating the database" in text
    assert newer.run("down")[0] == 0
    assert 9000 in newer.migrations()
    failing.unlink()
    code, text = newer.run("up")
    assert code == 1
    assert "Error: the database has migration 9000, this release knows" in text
    assert "Fix: upgrade Scaup" in text


def migrating(pid: int) -> psutil.Process:
    """Return the process that migrates, as soon as its copy of the database is there."""
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        for child in psutil.Process(pid).children(recursive=True):
            if "storage.database.upgrade" in child.cmdline() and any("new.duckdb" in each.path for each in child.open_files()):
                return child
        time.sleep(0.05)
    raise AssertionError("nothing migrates")
