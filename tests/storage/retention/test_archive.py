import shutil
import threading
from collections import namedtuple
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.database.database import Database
from storage.errors import ArchiveFailed, StorageError
from storage.query.sandbox import open_read_only
from storage.retention import archive as archives
from storage.retention import archive_files
from storage.retention.archive import Archive
from storage.retention.archive_files import ArchiveFiles
from tests.storage.conftest import Past, Recording, a_day, ask, content, direct, silent

FIRST, SECOND, THIRD, TODAY = (date(2026, 11, day) for day in (1, 2, 3, 4))
QUERIES = (
    "SELECT * FROM messages ORDER BY number",
    "SELECT topic, count(*), min(received_at), max(received_at) FROM messages GROUP BY topic ORDER BY topic",
    "SELECT number, payload FROM messages WHERE received_at >= TIMESTAMPTZ '2026-11-02 00:00:00+00' AND received_at < "
    "TIMESTAMPTZ '2026-11-03 01:01:00+00' ORDER BY number",
    "SELECT room, time_bucket(INTERVAL 1 MINUTE, received_at) AS minute, avg(celsius) FROM room_temperature GROUP BY ALL "
    "ORDER BY ALL",
    "SELECT m.topic, r.reason, r.payload_raw FROM messages m JOIN rejected_message r USING (number) ORDER BY number",
    "SELECT m.number, v.level, m.payload FROM valve_level v JOIN messages m ON m.number = v.number "
    "AND m.received_at = v.received_at ORDER BY m.number",
    "SELECT topic, arg_max(payload, number) FROM messages GROUP BY topic ORDER BY topic",
    "SELECT * FROM component_state ORDER BY number",
    "SELECT payload_raw, octet_length(payload_raw) FROM messages WHERE payload IS NULL ORDER BY number",
    "SELECT (SELECT count(*) FROM messages), (SELECT count(*) FROM room_temperature), (SELECT count(*) FROM rejected_message)",
    "SELECT * FROM messages WHERE number = 7",
    "SELECT column_name, column_type FROM (DESCRIBE messages)",
    "SELECT column_name, column_type FROM (DESCRIBE rejected_message)",
)


@pytest.fixture
def archive(database: Database) -> Archive:
    return Archive(database, direct)


@pytest.fixture
def filled(past: Past) -> Past:
    for day in (FIRST, SECOND, THIRD, TODAY):
        past.record(day, a_day(), 1)
    return past


def move_all(archive: Archive) -> int:
    return sum(archive.move(day, silent) for day in archive.closed_days(TODAY))


def live(database: Database, day: date, table: str = "messages") -> int:
    return int(ask(database, f"SELECT count(*) FROM live.{table} WHERE received_at::DATE = '{day}'")[0][0])


def on_disk(database: Database) -> set[str]:
    return {str(path.relative_to(database.archive)) for path in database.archive.rglob("*") if path.is_file()}


def listed(database: Database) -> set[str]:
    return {path for (path,) in ask(database, "SELECT path FROM archive_file WHERE state = 'archived'")}


def test_archiving_does_not_change_query_results(database: Database, archive: Archive, filled: Past) -> None:
    before = [ask(database, sql) for sql in QUERIES]
    assert move_all(archive) == 3 * len(a_day())
    assert [ask(database, sql) for sql in QUERIES] == before
    assert [live(database, day) for day in (FIRST, SECOND, THIRD, TODAY)] == [0, 0, 0, len(a_day())]
    assert on_disk(database) == listed(database) != set()


def test_closed_days_are_oldest_first_without_live_days(database: Database, archive: Archive, filled: Past) -> None:
    assert archive.closed_days(TODAY) == [FIRST, SECOND, THIRD]
    assert archive.closed_days(TODAY, live_days=1) == [FIRST, SECOND]
    assert archive.closed_days(TODAY, live_days=4) == []
    assert archive.closed_days(FIRST) == []


def test_day_begins_and_ends_at_midnight_utc(database: Database, archive: Archive, past: Past) -> None:
    past.record(FIRST, [("t", b"first")], 24 - 1 / 3600)
    past.record(SECOND, [("t", b"second")])
    archive.move(FIRST, silent)
    assert ask(database, "SELECT payload FROM live.messages") == [("second",)]
    ((path,),) = ask(database, "SELECT path FROM archive_file")
    assert path.startswith("day=2026-11-01/")


def test_files_are_zstd_parquet_sorted_by_topic_and_time(database: Database, archive: Archive, filled: Past) -> None:
    sent = ask(database, f"SELECT topic, received_at, payload, payload_raw FROM messages WHERE received_at::DATE = '{FIRST}'")
    archive.move(FIRST, silent)
    paths = sorted((database.archive / "day=2026-11-01").glob("*.parquet"))
    assert {path.name.split("-")[0] for path in paths} >= {"messages", "room_temperature", "rejected_message", "valve_level"}
    for path in paths:
        file = pq.ParquetFile(path)
        group = file.metadata.row_group(0)
        assert {group.column(n).compression for n in range(group.num_columns)} == {"ZSTD"}
    table = pq.read_table(next(path for path in paths if path.name.startswith("messages")), partitioning=None)
    order = list(zip(table["topic"].to_pylist(), table["received_at"].to_pylist(), strict=True))
    assert order == sorted(order)
    found = {
        (*each, *rest)
        for each, *rest in zip(order, table["payload"].to_pylist(), table["payload_raw"].to_pylist(), strict=True)
    }
    assert len(found) == len(sent)
    assert found == {(topic, at, text, raw) for topic, at, text, raw in sent}
    assert pa.types.is_timestamp(table.schema.field("received_at").type)


def test_long_day_has_several_parts(
    database: Database, archive: Archive, filled: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "PART_ROWS", 8)
    before = content(database)
    reported: list[tuple[str, int, int]] = []
    archive.move(FIRST, lambda *progress: reported.append(progress))
    parts = ask(database, "SELECT first_number, last_number, rows FROM archive_file WHERE name = 'messages' ORDER BY 1")
    assert len(parts) == 3
    assert sum(rows for *_, rows in parts) == len(a_day())
    assert all(rows == last - first + 1 <= 8 for first, last, rows in parts)
    assert reported[0] == ("archiving 2026-11-01", 0, 3)
    assert reported[-1] == ("archiving 2026-11-01", 3, 3)
    assert content(database) == before


def test_late_rows_become_another_part(database: Database, archive: Archive, filled: Past) -> None:
    move_all(archive)
    filled.record(FIRST, a_day(3), 5)
    before = content(database)
    assert archive.closed_days(TODAY) == [FIRST]
    assert archive.move(FIRST, silent) == len(a_day(3))
    assert content(database) == before
    assert [len(archive.files.of_day(FIRST, "messages")), len(archive.files.of_day(SECOND, "messages"))] == [2, 1]


def test_gap_in_numbers_makes_no_empty_parts(database: Database, archive: Archive, past: Past) -> None:
    past.record(FIRST, [("t", b"1")])
    database._last_number = 10**9
    past.record(FIRST, [("t", b"2")])
    assert len(archive._parts(FIRST)) == 2
    assert archive.move(FIRST, silent) == 2


def test_part_too_large_for_memory_is_halved(
    database: Database, archive: Archive, filled: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, copy = content(database), ArchiveFiles._copy

    def small_memory(self: ArchiveFiles, cursor: Any, rows_sql: str, *rest: Any) -> None:
        ((rows,),) = cursor.execute(f"SELECT count(*) FROM ({rows_sql})").fetchall()
        if rows > 6:
            raise duckdb.OutOfMemoryException("Out of Memory Error: failed to sort")
        copy(self, cursor, rows_sql, *rest)

    monkeypatch.setattr(ArchiveFiles, "_copy", small_memory)
    assert archive.move(FIRST, silent) == len(a_day())
    assert content(database) == before
    assert len(archive.files.of_day(FIRST, "messages")) == 4
    assert on_disk(database) == listed(database)


def test_message_too_large_for_memory_stays_live(
    database: Database, archive: Archive, filled: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: Any) -> None:
        raise duckdb.OutOfMemoryException("Out of Memory Error")

    monkeypatch.setattr(ArchiveFiles, "_copy", no_memory)
    with pytest.raises(ArchiveFailed, match="Out of Memory"):
        archive.move(FIRST, silent)
    assert live(database, FIRST) == len(a_day())


def test_wrong_checksum_leaves_everything_live(
    database: Database, archive: Archive, filled: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, copy = content(database), ArchiveFiles._copy

    def wrong(self: ArchiveFiles, cursor: Any, rows_sql: str, *rest: Any) -> None:
        copy(self, cursor, f"SELECT * REPLACE ('!' AS topic) FROM ({rows_sql})" if "topic" in rows_sql else rows_sql, *rest)

    monkeypatch.setattr(ArchiveFiles, "_copy", wrong)
    with pytest.raises(ArchiveFailed, match=r"messages-000000000001\.parquet has 20 rows with checksum \d+, it should have"):
        archive.move(FIRST, silent)
    assert content(database) == before
    assert live(database, FIRST) == len(a_day())
    assert on_disk(database) == set()
    assert ask(database, "SELECT * FROM archive_file") == []
    monkeypatch.undo()
    assert archive.move(FIRST, silent) == len(a_day())
    assert content(database) == before
    assert on_disk(database) == listed(database)


def test_rows_deleted_before_the_switch_stop_the_move(
    database: Database, archive: Archive, filled: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Archive._write_live

    def slow(self: Archive, *arguments: Any) -> Any:
        written = write(self, *arguments)
        database.transact(lambda connection: connection.execute("DELETE FROM live.messages WHERE number = 1"))
        return written

    monkeypatch.setattr(Archive, "_write_live", slow)
    with pytest.raises(ArchiveFailed, match="has 20 rows, the live table 19: nothing was moved"):
        archive.move(FIRST, silent)
    assert live(database, FIRST) == len(a_day()) - 1
    assert on_disk(database) == set()


def test_database_failure_during_a_move_keeps_all_rows(
    database: Database, archive: Archive, filled: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reopening removes the files that were being written: they must not become part of the archive."""
    before, write = content(database), Archive._write_live

    def slow(self: Archive, *arguments: Any) -> Any:
        written = write(self, *arguments)
        with pytest.raises(StorageError), database._writing():
            raise duckdb.FatalException("invalidated")
        database.session()
        return written

    monkeypatch.setattr(Archive, "_write_live", slow)
    with pytest.raises(ArchiveFailed, match="removed when the database was reopened"):
        archive.move(FIRST, silent)
    assert content(database) == before
    assert on_disk(database) == set()


def test_messages_that_arrive_during_a_move_are_stored(database: Database, filled: Past, writer: ThreadPoolExecutor) -> None:
    archive = Archive(database, lambda work: writer.submit(work).result())
    before = ask(database, "SELECT count(*) FROM messages")[0][0]
    with Recording(filled, writer, FIRST) as recording:
        for _ in range(3):
            for day in archive.closed_days(TODAY):
                archive.move(day, silent)
    assert recording.count > 0
    wanted = before + recording.count
    counts = "SELECT count(*), count(DISTINCT number), max(number) FROM messages"
    assert ask(database, counts) == [(wanted, wanted, wanted)]
    assert ask(database, "SELECT count(*) FROM room_temperature WHERE room = 'room-9'") == [(recording.count,)]
    assert len(archive.files.of_day(FIRST, "messages")) >= 2
    assert on_disk(database) == listed(database)


def test_restored_day_can_be_archived_again(database: Database, archive: Archive, filled: Past) -> None:
    before = content(database)
    move_all(archive)
    assert archive.restore(SECOND, silent) == len(a_day())
    assert content(database) == before
    assert live(database, SECOND) == len(a_day())
    assert not (database.archive / "day=2026-11-02").exists()
    assert archive.closed_days(TODAY) == []
    assert archive.move(SECOND, silent) == len(a_day())
    assert content(database) == before
    assert ask(database, "SELECT * FROM restored_day") == []
    assert on_disk(database) == listed(database)


def test_unarchived_day_cannot_be_restored(database: Database, archive: Archive, filled: Past) -> None:
    with pytest.raises(ArchiveFailed, match="2026-11-02 is not in the archive: `scaup archive list`"):
        archive.restore(SECOND, silent)
    assert ask(database, "SELECT * FROM restored_day") == []


Damage = Callable[[Path], object]
DAMAGES: dict[str, Damage] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "no Parquet": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "another": lambda path: path.write_bytes(path.read_bytes()[:9] + b"\0\0\0\0" + path.read_bytes()[13:]),
}


def damage(database: Database, how: str) -> tuple[Path, bytes]:
    (path,) = (database.archive / "day=2026-11-02").glob("messages*")
    whole = path.read_bytes()
    DAMAGES[how](path)
    return path, whole


@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_file_is_named_instead_of_restored(how: str, database: Database, archive: Archive, filled: Past) -> None:
    before = content(database)
    move_all(archive)
    path, whole = damage(database, how)
    with pytest.raises(ArchiveFailed, match=r"day=2026-11-02/messages-\d+\.parquet"):
        archive.restore(SECOND, silent)
    assert live(database, SECOND, "room_temperature") == 0
    assert ask(database, "SELECT * FROM restored_day") == []
    path.write_bytes(whole)
    assert archive.restore(SECOND, silent) == len(a_day())
    assert content(database) == before


@pytest.mark.parametrize("how", [how for how in DAMAGES if how != "another"])
def test_queries_name_a_damaged_file_and_recording_continues(how: str, tmp_path: Path) -> None:
    path = tmp_path / "data" / "scaup.duckdb"
    with closing(Database(path, 256, 1)) as database:
        past, archive = Past(database), Archive(database, direct)
        for day in (FIRST, SECOND, TODAY):
            past.record(day, a_day())
        before = content(database)
        move_all(archive)
        damaged, whole = damage(database, how)
        with pytest.raises(duckdb.Error, match=damaged.name):
            ask(database, "SELECT sum(hash(m)) FROM messages AS m")
    with closing(Database(path, 256, 1)) as database:
        past, archive = Past(database), Archive(database, direct)
        past.record(TODAY, [("/actuators/room-1", b'{"level":3}')], 2)
        for sql in (
            "SELECT count(*) FROM messages",
            "SELECT * FROM messages WHERE number = 1",
            "SELECT max(number) FROM messages",
        ):
            with pytest.raises(duckdb.Error, match=damaged.name):
                ask(database, sql)
        assert database.last_number == before["messages"][0] + 1
        assert ask(database, "SELECT count(*) FROM valve_level") == [(before["valve_level"][0] + 1,)]
        past.record(THIRD, a_day())
        assert archive.move(THIRD, silent) == len(a_day())
    with closing(open_read_only(path)) as connection, pytest.raises(duckdb.Error, match=damaged.name):
        connection.execute("SELECT count(*) FROM messages").fetchall()
    damaged.write_bytes(whole)
    with closing(Database(path, 256, 1)) as database:
        assert ask(database, "SELECT count(*), max(number) FROM messages") == [(before["messages"][0] + 1 + len(a_day()),) * 2]


def test_lost_file_is_neither_overwritten_nor_dropped(database: Database, archive: Archive, filled: Past) -> None:
    move_all(archive)
    damaged, _ = damage(database, "missing")
    other = archive.files.new_file("messages", archive.files.of_day(SECOND, "messages")[0].part, ("number",))
    assert other.path != str(damaged.relative_to(database.archive))


def test_full_disk_leaves_everything_live_and_no_file(
    database: Database, archive: Archive, filled: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(database)

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(archive_files, "sync_file", full)
    with pytest.raises(ArchiveFailed, match="No space left on device"):
        archive.move(FIRST, silent)
    monkeypatch.undo()
    assert content(database) == before
    assert on_disk(database) == set()
    assert archive.move(FIRST, silent) == len(a_day())


def test_unwritable_folder_leaves_everything_live(database: Database, archive: Archive, filled: Past) -> None:
    before = content(database)
    database.archive.mkdir(exist_ok=True)
    (database.archive / "day=2026-11-01").write_text("in the way")
    with pytest.raises(ArchiveFailed, match="could not be written"):
        archive.move(FIRST, silent)
    assert content(database) == before


def test_moved_database_finds_its_archive(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "it's [new] *"
    with closing(Database(old / "scaup.duckdb", 256, 1)) as database:
        past = Past(database)
        for day in (FIRST, SECOND, TODAY):
            past.record(day, a_day())
        before = content(database)
        move_all(Archive(database, direct))
    shutil.move(old, new)
    with closing(Database(new / "scaup.duckdb", 256, 1)) as database:
        assert content(database) == before


def test_archive_is_read_without_the_recorder(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "a" / "scaup.duckdb", 256, 1)) as database:
        past = Past(database)
        for day in (FIRST, TODAY):
            past.record(day, a_day())
        before = [ask(database, sql) for sql in QUERIES]
        move_all(Archive(database, direct))
    shutil.move(tmp_path / "a", tmp_path / "b")
    with closing(open_read_only(tmp_path / "b" / "scaup.duckdb")) as connection:
        assert [connection.execute(sql).fetchall() for sql in QUERIES] == before
        with pytest.raises(duckdb.PermissionException):
            connection.execute("SELECT * FROM read_text('/etc/passwd')")


def test_obsolete_files_stay_until_their_readers_end(database: Database, archive: Archive, filled: Past) -> None:
    move_all(archive)
    before = content(database)["messages"]
    started, go_on, found = threading.Event(), threading.Event(), list[Any]()

    def read() -> None:
        with database.cursor() as cursor:
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            cursor.execute("SELECT 1 FROM archive_file").fetchall()
            started.set()
            go_on.wait(10)
            found.extend(cursor.execute("SELECT count(*), sum(hash(content)) FROM messages AS content").fetchall())

    reader = threading.Thread(target=read)
    reader.start()
    started.wait(10)
    restoring = threading.Thread(target=archive.restore, args=(SECOND, silent))
    restoring.start()
    restoring.join(0.5)
    assert restoring.is_alive()
    assert (database.archive / "day=2026-11-02").exists()
    go_on.set()
    reader.join()
    restoring.join()
    assert found == [before]
    assert not (database.archive / "day=2026-11-02").exists()


def test_obsolete_files_stay_if_a_reader_does_not_end_in_time(
    database: Database, archive: Archive, filled: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    move_all(archive)
    monkeypatch.setattr(archive_files, "READERS_END_S", 0.05)
    with database.cursor():
        archive.restore(SECOND, silent)
        assert (database.archive / "day=2026-11-02").exists()
    archive.files.remove_obsolete()
    assert not (database.archive / "day=2026-11-02").exists()
    assert on_disk(database) == listed(database)


def test_only_unfinished_files_are_removed_after_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "scaup.duckdb"
    with closing(Database(path, 256, 1)) as database:
        folder = database.archive / "day=2026-11-01"
        folder.mkdir(parents=True)
        for name in ("writing.parquet", "writing.parquet.part", "obsolete.parquet", "mine.parquet", "README"):
            (folder / name).write_text("x")
        row = "'day=2026-11-01/{0}.parquet', '2026-11-01', 'messages', '{0}', 1, 1, '', 1, 1, ['number'], now()"
        values = f"({row.format('writing')}), ({row.format('obsolete')})"
        database.transact(lambda connection: connection.execute(f"INSERT INTO archive_file VALUES {values}"))
    with closing(Database(path, 256, 1)) as database:
        assert {file.name for file in folder.iterdir()} == {"mine.parquet", "README"}
        assert ask(database, "SELECT * FROM archive_file") == []


def test_column_missing_in_an_older_file_is_null(database: Database, archive: Archive, filled: Past) -> None:
    move_all(archive)
    ((name, columns),) = ask(
        database, f"SELECT path, columns FROM archive_file WHERE day = '{FIRST}' AND name = 'room_temperature'"
    )
    path, old = database.archive / name, [column for column in columns if column != "event_at"]
    table = pq.read_table(path, columns=old, partitioning=None)
    pq.write_table(table, path)
    database.transact(
        lambda connection: connection.execute(
            "UPDATE archive_file SET columns = ?, bytes = ? WHERE path = ?", [old, path.stat().st_size, name]
        )
    )
    database.close()
    with closing(Database(database.path, 256, 1)) as reopened:
        assert ask(reopened, "SELECT count(*), count(celsius), count(event_at) FROM room_temperature") == [(40, 40, 0)]
        assert [name for name, *_ in ask(reopened, "DESCRIBE room_temperature")] == columns


def test_days_without_messages_or_without_rows(database: Database, archive: Archive, filled: Past) -> None:
    assert archive.move(date(2020, 1, 1), silent) == 0
    assert archive.files.days() == []
    assert on_disk(database) == set()


def test_last_number_counts_archived_messages(database: Database, archive: Archive, past: Past) -> None:
    past.record(FIRST, a_day())
    archive.move(FIRST, silent)
    database.close()
    with closing(Database(database.path, 256, 1)) as reopened:
        assert reopened.last_number == len(a_day())


def test_day_is_not_restored_without_free_disk(
    database: Database, archive: Archive, filled: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    move_all(archive)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("storage.database.database.shutil.disk_usage", lambda _path: usage(10, 10, 0))
    with pytest.raises(ArchiveFailed, match="restoring 2026-11-02 may take 0 MiB of disk, 0 MiB are free: make room"):
        archive.restore(SECOND, silent)
    assert ask(database, "SELECT * FROM restored_day") == []
