import errno
import itertools
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from storage.backup import restore as restoring
from storage.backup import snapshot as snapshots
from storage.backup.files import data_files, settings_files
from storage.backup.folder import BackupFolder, Outcome, check
from storage.backup.manifest import MANIFEST, Manifest, read_manifest
from storage.backup.restore import restore
from storage.backup.snapshot import SnapshotWriter, check_free
from storage.database.database import Database
from storage.errors import BackupFailed, NoSpace, StorageError
from storage.query.sandbox import open_read_only
from storage.retention.archive import Archive
from storage.retention.maintenance import Maintenance
from storage.retention.policy import parse_policy
from tests.databases import open_database
from tests.storage.conftest import Past, a_day, ask, content, direct, silent
from tests.storage.database.test_migrate import MESSAGES_SQL, NUMBERS, messages, unpacked

FIRST, SECOND, THIRD, TODAY = (date(2026, 11, day) for day in (1, 2, 3, 4))


def nothing(_size: int) -> None:
    """Have room for everything."""


class Backups:
    """Backups of a database into one folder."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database, self.path = database, folder
        self.room: Callable[[int], None] = nothing

    def run(self) -> Outcome:
        data_dir = self.database.path.parent
        staging = data_dir / "backing-up"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        folder = BackupFolder(self.path, data_dir)
        with folder.in_use() as before:
            held = folder.held(before)
            writer = SnapshotWriter(self.database.cursor, staging, self.database.archive, self.room, silent)
            snapshot = writer.write(self.database.last_number, held, before.database if before else None, "token")
            return folder.finish(snapshot, before, staging, data_files(data_dir), "1")


@pytest.fixture
def backups(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Backups:
    return Backups(database, tmp_path_factory.mktemp("elsewhere") / "backup")


@pytest.fixture
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database file in an empty data directory."""
    return tmp_path_factory.mktemp("empty") / "scaup.duckdb"


def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "PART_NUMBERS", 20)


def restored_content(backup: Path, database: Path) -> dict[str, tuple[int, int]]:
    restore(backup, database, silent)
    opened = open_database(database)
    try:
        return content(opened)
    finally:
        opened.close()


def test_restored_database_has_the_same_content(past: Past, backups: Backups, empty: Path) -> None:
    past.database.begin_session()
    past.record(TODAY, a_day(1)[:1])  # fewer messages than migrations
    secret = past.database.path.with_name("credentials") / "operator"
    secret.parent.mkdir()
    secret.write_text("secret")
    secret.chmod(0o600)
    outcome = backups.run()
    assert outcome.manifest.number == past.database.last_number
    assert check(backups.path, silent) == outcome.manifest
    assert restored_content(backups.path, empty) == content(past.database)
    restored = empty.with_name("credentials") / "operator"
    assert (restored.read_text(), restored.stat().st_mode & 0o777) == ("secret", 0o600)


def test_later_run_writes_only_what_is_new(past: Past, backups: Backups, empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_parts(monkeypatch)
    past.record(TODAY, a_day(40))
    first = backups.run().manifest
    past.record(TODAY, a_day(1), 2)
    second = backups.run()
    numbered = [each for each in second.manifest.parts if each.numbered]
    assert {*numbered} & {*first.parts}
    assert all(each.last >= first.number - 20 for each in {*numbered} - {*first.parts})
    assert restored_content(backups.path, empty) == content(past.database)
    again = backups.run()
    assert again.written_bytes == 0, again
    assert {each.file for each in again.manifest.parts} == {each.file for each in second.manifest.parts}


def test_small_ranges_are_joined(past: Past, backups: Backups, empty: Path) -> None:
    sizes = []
    for hour in range(9):
        past.record(TODAY, a_day(1)[:1], hour)
        parts = [each for each in backups.run().manifest.parts if each.table == "messages"]
        assert sum(each.rows for each in parts) == hour + 1
        sizes.append([each.rows for each in parts])
    assert sizes == [[1], [2], [2, 1], [4], [4, 1], [4, 2], [4, 2, 1], [8], [8, 1]]
    assert restored_content(backups.path, empty) == content(past.database)


def test_archived_expired_and_restored_days_are_followed(
    past: Past, backups: Backups, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_parts(monkeypatch)
    for day in (FIRST, SECOND, THIRD, TODAY):
        past.record(day, a_day())
    whole = backups.run().manifest
    archive = Archive(past.database, direct)
    for day in (FIRST, SECOND, THIRD):
        archive.move(day, silent)
    moved = backups.run()
    assert moved.linked == len(moved.manifest.archive) > 0
    assert moved.manifest.messages < whole.messages
    Maintenance(past.database, direct).purge(parse_policy("/readings/# keep 1d raw"), TODAY, silent)
    archive.restore(SECOND, silent)
    final = backups.run().manifest
    assert final.messages + final.archived + final.expired == final.number
    assert final.expired > 0
    assert restored_content(backups.path, empty) == content(past.database)
    kept = {str(each.relative_to(backups.path)) for each in backups.path.rglob("*.parquet")}
    assert kept == {each.file for each in final.stored}


@pytest.mark.parametrize("number", [1, 2, NUMBERS[-1]])
def test_backup_of_an_earlier_schema_is_migrated(number: int, tmp_path: Path, empty: Path) -> None:
    source = unpacked(number, tmp_path)
    staging = tmp_path / "backing-up"
    staging.mkdir()
    connection = open_read_only(source, staging)
    writer = SnapshotWriter(lambda: nullcontext(connection), staging, tmp_path / "archive", check_free(source), silent)
    snapshot = writer.write(None, (), None, "token")
    connection.close()
    backup = empty.parent.parent / f"backup-{number}-{empty.parent.name}"
    folder = BackupFolder(backup, tmp_path)
    with folder.in_use() as before:
        folder.finish(snapshot, before, staging, {}, "1")
    assert max(snapshot.migrations) == number
    assert snapshot.number == len(messages())
    restore(backup, empty, silent)
    opened = open_database(empty)
    try:
        assert ask(opened, MESSAGES_SQL) == messages()
        assert opened.last_number == len(messages())
    finally:
        opened.close()


def damage_nothing(path: Path) -> None:
    """Leave the file as it is."""


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def change(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(("damage", "text"), [(cut, "bytes instead of"), (change, "is damaged"), (Path.unlink, "is missing")])
def test_check_names_what_is_damaged(
    past: Past, backups: Backups, empty: Path, damage: Callable[[Path], None], text: str
) -> None:
    past.record(TODAY, a_day())
    backups.run()
    path = next((backups.path / "database").glob("messages-*"))
    damage(path)
    for attempt in (lambda: check(backups.path, silent), lambda: restore(backups.path, empty, silent)):
        with pytest.raises(BackupFailed, match=text) as error:
            attempt()
        assert path.name in str(error.value)
    assert not any(empty.parent.iterdir())


def test_manifest_that_was_changed_is_refused(past: Past, backups: Backups) -> None:
    past.record(TODAY, a_day())
    backups.run()
    path = backups.path / MANIFEST
    text = path.read_text()
    path.write_text(text.replace(f'"number": {past.database.last_number}', '"number": 1'))
    with pytest.raises(BackupFailed, match="was changed"):
        check(backups.path, silent)
    path.write_text(text[:100])
    with pytest.raises(BackupFailed, match="cannot be read"):
        backups.run()


@pytest.mark.parametrize("damage", [cut, Path.unlink])
def test_later_run_replaces_what_is_damaged(past: Past, backups: Backups, damage: Callable[[Path], None]) -> None:
    past.record(FIRST, a_day())
    Archive(past.database, direct).move(FIRST, silent)
    past.record(TODAY, a_day())
    before = backups.run().manifest
    for folder in ("database", "archive"):
        path = next((backups.path / folder).rglob("messages-*"))
        copied = path.read_bytes()  # a file of the archive has another name there
        path.unlink()
        path.write_bytes(copied)
        damage(path)
    backups.run()
    assert {each.file for each in check(backups.path, silent).stored} == {each.file for each in before.stored}


def test_files_of_a_killed_run_do_not_count(past: Past, backups: Backups) -> None:
    past.record(TODAY, a_day())
    before = backups.run().manifest
    for name in ("database/messages-1-2-abc.parquet", "database/x.parquet.part", "archive/day=1/y.parquet", "files/z-1"):
        path = backups.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    assert check(backups.path, silent) == before
    backups.run()
    assert not [each for each in backups.path.rglob("*") if each.is_file() and each.read_bytes() == b"half"]


def test_disk_that_is_too_full_is_named(past: Past, backups: Backups, monkeypatch: pytest.MonkeyPatch) -> None:
    past.record(TODAY, a_day())
    backups.room = past.database.check_room
    monkeypatch.setattr(Database, "free_bytes", 1_000_000)
    with pytest.raises(NoSpace, match="make room"):
        backups.run()
    assert read_manifest(backups.path) is None


def test_disk_of_the_backup_that_is_full_is_named(past: Past, backups: Backups, monkeypatch: pytest.MonkeyPatch) -> None:
    past.record(TODAY, a_day())
    before = backups.run().manifest
    past.record(TODAY, a_day(), 2)

    def other_disk(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda path, to: rename(path, to) if to.parent == path.parent else other_disk())
    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(BackupFailed, match=r"No space left on device; make room there"):
        backups.run()
    assert not list(backups.path.rglob("*.part"))
    monkeypatch.undo()
    assert check(backups.path, silent) == before


def test_recorder_that_restarts_in_the_middle_is_named(past: Past, backups: Backups, monkeypatch: pytest.MonkeyPatch) -> None:
    past.record(FIRST, a_day())
    Archive(past.database, direct).move(FIRST, silent)
    write = SnapshotWriter.write

    def write_and_restart(writer: SnapshotWriter, *arguments: Any) -> Any:
        snapshot = write(writer, *arguments)
        shutil.rmtree(past.database.path.with_name("backing-up"))
        return snapshot

    monkeypatch.setattr(SnapshotWriter, "write", write_and_restart)
    with pytest.raises(BackupFailed, match=r"restarted meanwhile; repeat"):
        backups.run()


def test_folder_that_cannot_hold_a_backup_is_refused(tmp_path: Path) -> None:
    data_dir, other = tmp_path / "data", tmp_path / "other"
    data_dir.mkdir()
    other.mkdir()
    (other / "letter.txt").touch()
    for folder, text in ((data_dir / "backup", "lie in each other"), (tmp_path, "lie in each other"), (other, "is no backup")):
        with pytest.raises(BackupFailed, match=text):
            BackupFolder(folder, data_dir)
    with pytest.raises(BackupFailed, match="cannot be used"):
        BackupFolder(other / "letter.txt" / "backup", data_dir)


def test_backup_of_another_database_is_kept(past: Past, backups: Backups, empty: Path) -> None:
    past.record(TODAY, a_day())
    before = backups.run().manifest
    other = Database(empty, 256, 1)
    try:
        Past(other).record(TODAY, a_day())
        with pytest.raises(BackupFailed, match="another database"):
            Backups(other, backups.path).run()
    finally:
        other.close()
    assert check(backups.path, silent) == before


def test_restored_database_continues_its_backup(past: Past, backups: Backups, empty: Path) -> None:
    past.record(TODAY, a_day())
    backups.run()
    older = backups.path.with_name("older")
    shutil.copytree(backups.path, older)
    past.record(TODAY, a_day(), 2)
    backups.run()
    restore(older, empty, silent)  # what was recorded since is lost
    other = Database(empty, 256, 1)
    try:
        Past(other).record(TODAY, a_day(), 5)
        assert other.last_number == past.database.last_number
        assert Backups(other, backups.path).run().written > 0
        expected = content(other)
    finally:
        other.close()
    assert restored_content(backups.path, empty.parent / "again" / empty.name) == expected


def test_second_run_into_a_folder_is_refused(past: Past, backups: Backups) -> None:
    folder = BackupFolder(backups.path, past.database.path.parent)
    with folder.in_use(), pytest.raises(BackupFailed, match="another backup to"):
        backups.run()


def test_rows_that_do_not_fit_into_memory_are_halved(
    past: Past, backups: Backups, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    past.record(TODAY, a_day(100))
    real = snapshots._content

    def limited(cursor: duckdb.DuckDBPyConnection, source: str) -> tuple[int, int]:
        found = real(cursor, source)
        if found[0] > 25:  # more than the whole tables have, which cannot be halved
            raise duckdb.OutOfMemoryException("too large")
        return found

    monkeypatch.setattr(snapshots, "_content", limited)
    parts = backups.run().manifest.parts
    monkeypatch.undo()
    assert max(each.rows for each in parts if each.table == "messages") <= 25
    assert restored_content(backups.path, empty) == content(past.database)


def test_restore_needs_an_empty_data_directory(past: Past, backups: Backups, empty: Path) -> None:
    past.record(TODAY, a_day())
    backups.run()
    (empty.parent / "notes.txt").touch()
    with pytest.raises(BackupFailed, match=r"not empty, it has notes\.txt"):
        restore(backups.path, empty, silent)


def test_backup_of_a_newer_release_is_refused(past: Past, backups: Backups, empty: Path) -> None:
    past.record(TODAY, a_day())
    past.database.transact(lambda connection: connection.execute("INSERT INTO schema_migration VALUES (9999, 'x', now())"))
    backups.run()
    with pytest.raises(BackupFailed, match="upgrade Scaup"):
        restore(backups.path, empty, silent)


class Killed(BaseException):
    """Ends a restore as a kill does."""


def test_interrupted_restore_is_repeated(
    past: Past, backups: Backups, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    past.record(FIRST, a_day())
    Archive(past.database, direct).move(FIRST, silent)
    past.record(TODAY, a_day())
    past.database.path.with_name("plant-time.json").write_text("{}")
    backups.run()
    expected, killed = content(past.database), 0
    for step in itertools.count(1, 2):  # every second one: each takes a restore of its own
        killed_before = killed
        empty = tmp_path_factory.mktemp("empty") / "scaup.duckdb"
        with monkeypatch.context() as patched:
            kill_at(step, patched)
            try:
                restore(backups.path, empty, silent)
            except Killed:
                killed += 1
        if killed == killed_before:
            break
        if empty.with_name("restoring").exists():
            with pytest.raises(StorageError, match="scaup restore"):
                Database(empty, 256, 1)
        assert restored_content(backups.path, empty) == expected
        assert not empty.with_name("restoring").exists()
    assert killed >= 5


def kill_at(step: int, patched: pytest.MonkeyPatch) -> None:
    """Raise Killed at the given call of those that change something."""
    left = step

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if not left:
                raise Killed
            return real(*arguments, **options)

        return call

    for place, name in ((Path, "rename"), (Path, "touch"), (restoring, "migrate"), (shutil, "rmtree"), (shutil, "copyfile")):
        patched.setattr(place, name, counted(getattr(place, name)))


def test_data_and_settings_files_are_chosen(tmp_path: Path) -> None:
    data_dir, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    kept = ("credentials/operator", "tls/server.key", "charger-pairs.json", "plant-time.json")
    for name in (*kept, "scaup.duckdb", "scaup.duckdb.wal", "archive/day=1/x", "broker/mosquitto.db", "logs/a", "plant-epoch"):
        path = data_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (elsewhere / "catalog").mkdir(parents=True)
    for name in ("catalog/parts.json", "keep.conf", ".env"):
        (elsewhere / name).touch()
    assert sorted(data_files(data_dir)) == sorted(kept)
    given = {
        "SCAUP_DATA_DIR": str(data_dir),
        "SCAUP_RETENTION": str(elsewhere / "keep.conf"),
        "SCAUP_TORQUE_CATALOG": str(elsewhere / "catalog"),
        "SCAUP_CHARGER_PAIRS": str(data_dir / "charger-pairs.json"),
        "SCAUP_MQTT_PORT": "1883",
        "SCAUP_TORQUE_DRIVER_URL": "ws://host/nothing",
    }
    assert sorted(settings_files(elsewhere / ".env", given, data_dir)) == [
        "settings/.env",
        "settings/SCAUP_RETENTION/keep.conf",
        "settings/SCAUP_TORQUE_CATALOG/catalog/parts.json",
    ]


def test_manifest_is_read_as_it_was_written(past: Past, backups: Backups) -> None:
    past.record(TODAY, a_day())
    written = backups.run().manifest
    read = read_manifest(backups.path)
    assert isinstance(read, Manifest)
    assert read == written
