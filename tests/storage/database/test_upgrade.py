import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from broker.runtime.settings import ROOT
from storage.database import migrate as migrations
from storage.database import upgrade as upgrades
from storage.database.database import Database
from storage.database.opening import hold_lock
from storage.database.upgrade import go_back, upgrade
from storage.errors import DatabaseLocked, DatabaseTooNew, UpgradeFailed
from tests.storage.conftest import ask
from tests.storage.database.test_migrate import MESSAGES_SQL, NUMBERS, messages, unpacked

OLD = 2


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return unpacked(OLD, tmp_path)


def numbers(path: Path) -> list[int]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return [each for (each,) in connection.execute("SELECT number FROM schema_migration ORDER BY number").fetchall()]


def recorded(path: Path) -> list[tuple[object, ...]]:
    database = Database(path, 256, 1)
    try:
        return ask(database, MESSAGES_SQL)
    finally:
        database.close()


def add_migration(monkeypatch: pytest.MonkeyPatch, sql: str) -> None:
    available = migrations._available()
    monkeypatch.setattr(migrations, "_available", lambda: {**available, 9000: ("added", sql)})


def test_database_is_migrated_and_can_go_back(old: Path) -> None:
    reported: list[str] = []
    assert upgrade(old, reported.append) == NUMBERS[OLD:]
    assert numbers(old) == NUMBERS
    assert len(reported) == 2
    assert upgrade(old, reported.append) == []
    assert len(reported) == 2
    assert recorded(old) == messages()
    with duckdb.connect(str(old)) as connection:
        connection.execute("INSERT INTO schema_migration VALUES (9999, 'x', now())")
    with pytest.raises(DatabaseTooNew, match=r"9999.*upgrade back. goes back to"):
        upgrade(old, reported.append)
    before = old.with_name("upgrade") / "before.duckdb"
    assert numbers(before) == NUMBERS[:OLD]
    go_back(old)
    assert numbers(old) == NUMBERS[:OLD]
    assert recorded(old) == messages()
    with pytest.raises(UpgradeFailed, match="no upgrade changed"):
        go_back(old)


@pytest.mark.parametrize("sql", ["SELECT error('no')", "DELETE FROM live.messages WHERE number = 1", "nonsense"])
def test_failed_migration_leaves_the_database(old: Path, monkeypatch: pytest.MonkeyPatch, sql: str) -> None:
    add_migration(monkeypatch, sql)
    content = old.read_bytes()
    with pytest.raises(UpgradeFailed, match=r"migration 9000 failed|messages became"):
        upgrade(old, lambda _: None)
    assert old.read_bytes() == content
    assert [each.name for each in old.with_name("upgrade").iterdir()] == []
    monkeypatch.undo()
    assert recorded(old) == messages()


def test_log_of_a_killed_recorder_is_migrated_too(old: Path) -> None:
    script = f"""
import duckdb, os
connection = duckdb.connect({str(old)!r})
connection.execute("INSERT INTO mqtt_session VALUES (77, now())")
os._exit(1)
"""
    subprocess.run([sys.executable, "-c", script], check=False)
    assert old.with_name(old.name + ".wal").exists()
    upgrade(old, lambda _: None)
    with duckdb.connect(str(old), read_only=True) as connection:
        assert connection.execute("SELECT max(session) FROM mqtt_session").fetchall() == [(77,)]


def test_database_of_a_newer_release_is_refused(old: Path) -> None:
    with duckdb.connect(str(old)) as connection:
        connection.execute("INSERT INTO schema_migration VALUES (9999, 'x', now())")
    with pytest.raises(DatabaseTooNew, match="9999"):
        upgrade(old, lambda _: None)


def test_open_database_is_not_upgraded(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrades, "READERS_S", 0.3)
    with hold_lock(old), pytest.raises(DatabaseLocked, match=f"process {os.getpid()}, which records .* wait until it ends"):
        upgrade(old, lambda _: None)


def test_upgrade_without_room_says_so(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrades, "_ROOM", 1e12)
    with pytest.raises(UpgradeFailed, match="make room"):
        upgrade(old, lambda _: None)
    assert numbers(old) == NUMBERS[:OLD]


@pytest.fixture
def slow_upgrade(old: Path) -> Iterator["subprocess.Popen[bytes]"]:
    script = """
import sys
from storage.database import migrate, upgrade
available = migrate._available()
slow = "CREATE TABLE live.more AS SELECT * FROM live.messages; "
slow += "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE hash(a, b) = 1"
migrate._available = lambda: {**available, 9000: ("slow", slow)}
sys.exit(upgrade.main([]))
"""
    environment = {**os.environ, "SCAUP_DATA_DIR": str(old.parent)}
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=environment)
    yield process
    process.kill()
    process.wait()


def test_upgrade_that_is_killed_leaves_the_database(old: Path, slow_upgrade: "subprocess.Popen[bytes]") -> None:
    new, deadline_s = old.with_name("upgrade") / "new.duckdb", time.monotonic() + 20
    while not (new.exists() and new.stat().st_size >= old.stat().st_size) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    time.sleep(0.5)
    assert slow_upgrade.poll() is None, "it was to be killed in the middle"
    slow_upgrade.kill()
    slow_upgrade.wait()
    assert new.exists()
    assert numbers(old) == NUMBERS[:OLD]
    assert upgrade(old, lambda _: None) == NUMBERS[OLD:]
    assert not new.exists()
    assert recorded(old) == messages()


def test_nothing_to_migrate_prints_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "SCAUP_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "storage.database.upgrade"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
