import os
import threading
from collections import namedtuple
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from storage.database import database as commit
from storage.database.database import Database
from storage.errors import ArchiveFailed, DatabaseLocked, StorageError
from storage.retention import compact as compacting
from storage.retention.archive import Archive
from storage.retention.compact import compact, worth_compacting
from tests.storage.conftest import Past, Recording, a_day, ask, content, direct, silent

FIRST, SECOND, TODAY = (date(2026, 11, day) for day in (1, 2, 3))
ROWS = "SELECT count(*), count(DISTINCT number), min(number), max(number) FROM messages"


@pytest.fixture
def filled(past: Past) -> Past:
    for day in (FIRST, SECOND, TODAY):
        past.record(day, a_day(), 1)
    return past


def large(past: Past, day: date) -> None:
    past.record(day, [("large", os.urandom(100_000).hex().encode()) for _ in range(60)])


def test_compacted_file_is_small_and_has_the_same_rows(database: Database, past: Past) -> None:
    database.begin_session()
    past.record(FIRST, a_day())
    large(past, FIRST)
    past.record(TODAY, a_day())
    before = content(database)
    others = [ask(database, f"FROM {name} ORDER BY ALL") for name in ("mqtt_session", "schema_migration", "recorded_view")]
    moved = Archive(database, direct).move(FIRST, silent)
    with database.cursor() as cursor:
        cursor.execute("CHECKPOINT")
    size = sum(database.file_sizes)
    assert worth_compacting(database, moved)
    was, now = compact(database, direct, silent)
    assert was == size > 8_000_000
    assert now == sum(database.file_sizes) < 3_000_000
    assert content(database) == before
    assert [
        ask(database, f"FROM {name} ORDER BY ALL") for name in ("mqtt_session", "schema_migration", "recorded_view")
    ] == others
    assert not database.compacting.exists()
    assert not worth_compacting(database, 0)


def test_recording_and_compacting_continue_afterwards(database: Database, filled: Past) -> None:
    last = database.last_number
    for _ in range(2):
        compact(database, direct, silent)
        assert database.last_number == last
        filled.record(TODAY, a_day(), 3)
        last += len(a_day())
        assert ask(database, ROWS) == [(last, last, 1, last)]
        assert ask(database, "SELECT session FROM mqtt_session") == []
    database.close()
    with closing(Database(database.path, 256, 1)) as reopened:
        assert reopened.last_number == last
        assert ask(reopened, ROWS) == [(last, last, 1, last)]


def test_numbers_continue_when_everything_was_archived(database: Database, past: Past) -> None:
    past.record(FIRST, a_day())
    Archive(database, direct).move(FIRST, silent)
    compact(database, direct, silent)
    past.record(TODAY, a_day())
    count = 2 * len(a_day())
    assert ask(database, ROWS) == [(count, count, 1, count)]


def test_messages_that_arrive_meanwhile_are_stored_once(database: Database, filled: Past, writer: ThreadPoolExecutor) -> None:
    before = database.last_number
    with Recording(filled, writer, TODAY) as recording:
        for _ in range(3):
            compact(database, lambda work: writer.submit(work).result(), silent)
    wanted = before + recording.count
    assert recording.count > 3
    assert ask(database, ROWS) == [(wanted, wanted, 1, wanted)]
    assert ask(database, "SELECT count(DISTINCT number) FROM room_temperature WHERE room = 'room-9'") == [(recording.count,)]
    assert database.last_number == wanted


def test_running_queries_get_time_and_new_ones_wait(database: Database, filled: Past) -> None:
    started, compacted, answers = threading.Event(), threading.Event(), list[Any]()

    def early() -> None:
        with database.cursor() as cursor:
            started.set()
            answers.append((cursor.execute("SELECT count(*) FROM messages").fetchall(), compacted.wait(0.5)))

    def late() -> None:
        answers.append((ask(database, "SELECT count(*) FROM messages"), compacted.is_set()))

    def compaction_of_all() -> None:
        compact(database, direct, silent)
        compacted.set()

    first, compaction, second = (threading.Thread(target=each) for each in (early, compaction_of_all, late))
    first.start()
    started.wait(5)
    compaction.start()
    while not database._cursors._held:
        assert compaction.is_alive()
    second.start()
    for thread in (first, compaction, second):
        thread.join()
    count = [(3 * len(a_day()),)]
    assert [rows for rows, _ in answers] == [count, count]
    assert answers[0][1] is False


def test_query_that_does_not_end_is_interrupted(database: Database, filled: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "QUERIES_END_S", 0.3)
    started, ended = threading.Event(), list[str]()

    def endless() -> None:
        try:
            with database.cursor() as cursor:
                started.set()
                cursor.execute("SELECT count(*) FROM range(100000) a, range(100000) b, range(1000) c").fetchall()
        except duckdb.Error as error:
            ended.append(type(error).__name__)

    query = threading.Thread(target=endless)
    query.start()
    started.wait(5)
    before = content
    compact(database, direct, silent)
    query.join(10)
    assert ended == ["InterruptException"]
    assert before(database)["messages"][0] == 3 * len(a_day())


@pytest.mark.parametrize("checkpointed", [True, False])
def test_slow_reader_causes_no_loss(
    checkpointed: bool, database: Database, filled: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cursor has no statement to interrupt: the database must then stay in place, or be closed completely."""
    monkeypatch.setattr(commit, "QUERIES_END_S", 0.2)
    if checkpointed:
        with database.cursor() as cursor:
            cursor.execute("CHECKPOINT")
    with database.cursor() as slow:
        rows = slow.execute("SELECT * FROM range(1000000)")
        rows.fetchone()
        with suppress(StorageError):
            compact(database, direct, silent)
    filled.record(TODAY, a_day(), 5)
    database.close()
    count = 4 * len(a_day())
    with closing(Database(database.path, 256, 1)) as reopened:
        assert ask(reopened, ROWS) == [(count, count, 1, count)]


def failing(original: Callable[..., Any], error: Exception) -> Callable[..., Any]:
    def fail(*arguments: Any) -> Any:
        original(*arguments)
        raise error

    return fail


FULL = OSError(28, "No space left on device")
OTHERS = (duckdb.IOException("IO Error: no"), ArchiveFailed("no"))
PHASES = [
    (compacting, "_prepare"),
    (compacting, "_copy_until"),
    (compacting, "_copy"),
    (compacting, "_compare"),
    (compacting, "_complete"),
    (commit, "sync_file"),
]


@pytest.mark.parametrize(
    ("module", "phase", "error"), [(*each, FULL) for each in PHASES] + [(*PHASES[4], each) for each in OTHERS]
)
def test_failure_in_any_phase_leaves_the_old_file(
    module: Any, phase: str, error: Exception, database: Database, filled: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, inode = content(database), database.path.stat().st_ino
    monkeypatch.setattr(module, phase, failing(getattr(module, phase), error))
    with pytest.raises(StorageError, match=r"no|No space"):
        compact(database, direct, silent)
    monkeypatch.undo()
    assert database.path.stat().st_ino == inode
    assert not database.compacting.exists()
    assert content(database) == before
    filled.record(TODAY, a_day(), 5)
    compact(database, direct, silent)
    count = 4 * len(a_day())
    assert ask(database, ROWS) == [(count, count, 1, count)]


def test_incomplete_copy_does_not_replace_the_database(
    database: Database, filled: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy: Callable[..., None] = compacting._copy
    monkeypatch.setattr(compacting, "_copy", lambda *given: copy(*given[:3], f"{given[3]} AND random() < 0.5"))
    with pytest.raises(ArchiveFailed, match=r"has \d+ rows, its copy \d+: the database was not replaced"):
        compact(database, direct, silent)
    assert ask(database, "SELECT count(*) FROM messages") == [(3 * len(a_day()),)]


def test_compaction_needs_free_disk(database: Database, filled: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("storage.database.database.shutil.disk_usage", lambda _path: usage(10, 10, 0))
    with pytest.raises(ArchiveFailed, match=r"compacting needs .* of free disk"):
        compact(database, direct, silent)
    assert not database.compacting.exists()


def test_small_database_is_not_compacted(database: Database, filled: Past) -> None:
    assert not worth_compacting(database, 1_000_000)


def test_lock_is_held_at_all_times(database: Database, filled: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = list[str]()

    def refuse() -> None:
        with pytest.raises(DatabaseLocked) as caught:
            Database(database.path, 256, 1)
        refused.append(str(caught.value))

    rename = Path.rename

    def renaming(self: Path, target: Path) -> Path:
        refuse()
        renamed = rename(self, target)
        refuse()
        return renamed

    monkeypatch.setattr(Path, "rename", renaming)
    refuse()
    compact(database, direct, silent)
    refuse()
    assert len(refused) == 4
    assert all(f"held by process {os.getpid()}" in text for text in refused)


def test_unfinished_copy_is_removed_at_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / "compacting"
    folder.mkdir()
    (folder / "scaup.duckdb").write_bytes(b"half")
    with closing(Database(tmp_path / "scaup.duckdb", 256, 1)):
        assert not folder.exists()


def test_columns_are_listed_once_during_compaction(database: Database, filled: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the copy is attached there are two schemas `live`."""
    archive, moved, copy = Archive(database, direct), list[int](), compacting._copy_until

    def with_move(*given: Any) -> None:
        copy(*given)
        assert archive.files.tables()["valve_level"] == ["number", "received_at", "event_at", "room", "level"]
        moved.append(1)

    monkeypatch.setattr(compacting, "_copy_until", with_move)
    compact(database, direct, silent)
    assert moved == [1]
