"""`scaup backup` and `scaup restore` where no recorder runs: the database file itself is read."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from adapters.cli import session as sessions
from adapters.cli.main import cli
from storage.backup.snapshot import SnapshotWriter
from storage.database.opening import hold_lock
from tests.databases import open_database
from tests.storage.conftest import Past, a_day
from tests.storage.retention.test_archive import FIRST


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory with some messages and no recorder."""
    folder = tmp_path / "data"
    folder.mkdir()
    database = open_database(folder / "scaup.duckdb")
    Past(database).record(FIRST, a_day())
    database.close()
    monkeypatch.setenv("SCAUP_DATA_DIR", str(folder))
    monkeypatch.setenv("SCAUP_MQTT_PORT", "1")
    return folder


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(each) for each in words])


def test_file_is_backed_up_checked_and_restored(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, restored = tmp_path / "backup", tmp_path / "restored"
    assert "no backup in" in run("backup", folder, "--check").output
    first, second = run("backup", folder), run("backup", folder)
    assert (first.exit_code, second.exit_code) == (0, 0), first.output + second.output
    assert "backing up scaup.duckdb itself" in first.output
    assert re.search(r"verified: [1-9]\d* files with [1-9][\d.]* kB written", first.output)
    assert "0 files with 0.0 kB written" in second.output
    assert run("backup", folder, "--check").exit_code == 0
    monkeypatch.setenv("SCAUP_DATA_DIR", str(restored))
    done = run("restore", folder)
    assert done.exit_code == 0, done.output
    again = run("restore", folder)
    assert again.exit_code == 1
    assert "is not empty" in again.output
    assert "Fix: " in again.output
    assert not (data_dir / "backing-up").exists()


def test_command_gives_way_to_a_recorder_that_starts(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = SnapshotWriter._write_parts

    def slowly(*arguments: Any) -> Any:
        time.sleep(1)
        return write(*arguments)

    monkeypatch.setattr(SnapshotWriter, "_write_parts", slowly)
    monkeypatch.setattr(sessions, "recorder_waits", lambda _: True)
    done = run("backup", tmp_path / "backup")
    assert done.exit_code == 3
    assert "a recorder starts and needs the database file" in done.output


def test_database_that_a_recorder_holds_is_not_read(data_dir: Path, tmp_path: Path) -> None:
    with hold_lock(data_dir / "scaup.duckdb"):
        done = run("backup", tmp_path / "backup")
    assert done.exit_code == 3
    assert "when the recorder is online" in done.output


def test_place_without_anything_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCAUP_MQTT_PORT", "1")
    monkeypatch.setenv("SCAUP_DATA_DIR", str(tmp_path / "nowhere"))
    assert "SCAUP_DATA_DIR" in run("backup", tmp_path / "backup").output
    (tmp_path / "nowhere").mkdir()
    done = run("backup", tmp_path / "backup")
    assert done.exit_code == 3
    assert "there is no database at" in done.output
