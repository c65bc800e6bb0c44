import contextlib
import threading
from collections import namedtuple
from pathlib import Path
from typing import Any

import duckdb
import pytest

from broker.runtime.rejection import rejection
from storage.database import database as database_module
from storage.database.batch import TimedDelivery, arrow_table
from storage.database.database import Database
from storage.errors import DatabaseLocked, DatabaseTooNew, NoSpace, StorageError
from storage.schema.typed_streams import StreamCodes, TypedStream
from tests.storage.conftest import Deliver
from tests.storage.database.test_migrate import NUMBERS

READING = "/readings/room-1/temperature"


def store(database: Database, *batch: TimedDelivery) -> int:
    return database.commit(arrow_table(list(batch), 1, StreamCodes())).rejected


def rows(database: Database, sql: str) -> list[tuple[object, ...]]:
    with database.cursor() as cursor:
        return cursor.execute(sql).fetchall()


def test_messages_are_stored_byte_for_byte(database: Database, deliver: Deliver) -> None:
    payloads = [b"", b"ON", b"21.5", b'{"a":1}', "é€".encode(), b"\xff\xfe\x00", b"\x00", b"x" * 1_000_000, b"{" * 5000]
    store(database, *(deliver("any/topic", payload) for payload in payloads))
    kept = rows(database, "SELECT payload, payload_raw FROM messages ORDER BY number")
    assert [text.encode() if text is not None else raw for text, raw in kept] == payloads  # type: ignore[attr-defined]
    assert [raw is not None for _, raw in kept] == [payload == b"\xff\xfe\x00" for payload in payloads]


def test_qos_retain_stamp_and_identifiers_are_stored(database: Database, deliver: Deliver) -> None:
    user = b"".join(
        b"\x26" + len(part).to_bytes(2) + part + len(value).to_bytes(2) + value
        for part, value in ((b"source", b"heating"), (b"boot", b"b1"), (b"seq", b"9"), (b"plant-time", b"2026-01-31T08:00:00Z"))
    )
    store(database, deliver("t", b"", qos=0), deliver("t", b"", qos=2, retain=True, packet_id=65_535, properties=user))
    assert rows(database, "SELECT qos, retain, source, boot, seq, session, packet_id, event_at::VARCHAR FROM messages") == [
        (0, False, None, None, None, 1, None, None),
        (2, True, "heating", "b1", 9, 1, 65_535, "2026-01-31 08:00:00+00"),
    ]


def test_readings_and_levels_become_typed_rows(database: Database, deliver: Deliver) -> None:
    rejected_rows = store(
        database,
        deliver(READING, b'{"sensorID":"sensor-1","type":"temperature","value":25.3}'),
        deliver("/actuators/room-1", b'{"level":14}'),
        deliver("components/heating/state", b'{"state":"online","boot":"b","version":"1"}'),
    )
    assert rejected_rows == 0
    assert rows(database, "SELECT room, sensor, celsius FROM room_temperature") == [("room-1", "sensor-1", 25.3)]
    assert rows(database, "SELECT room, level FROM valve_level") == [("room-1", 14)]
    assert rows(database, "SELECT component, state FROM component_state") == [("heating", "online")]


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        (READING, b"", "empty payload"),
        (READING, b"garbage", "not JSON"),
        (READING, b"\xff\xfe", "not UTF-8"),
        (READING, b"[" * 10_000, "not JSON"),
        (READING, b"[1]", "wrong shape"),
        (READING, b"null", "wrong shape"),
        (READING, b'{"sensorID":"s"}', "wrong shape"),
        (READING, b'{"sensorID":"","type":"temperature","value":1}', "wrong shape"),
        (READING, b'{"sensorID":"s","value":1}', "wrong shape"),
        (READING, b'{"sensorID":"s","type":"humidity","value":1}', "wrong shape"),
        (READING, b'{"sensorID":7,"value":1}', "wrong shape"),
        (READING, b'{"sensorID":"s","value":"25"}', "wrong shape"),
        (READING, b'{"sensorID":"s","value":true}', "wrong shape"),
        (READING, b'{"sensorID":"s","value":null}', "wrong shape"),
        (READING, b'{"sensorID":"s","value":1e999}', "not JSON"),
        (READING, b'{"sensorID":"s","value":NaN}', "not JSON"),
        (READING, b"x" * 1_000_000, "not JSON"),
        ("/actuators/room-1", b'{"level":101}', "wrong shape"),
        ("/actuators/room-1", b'{"level":-1}', "wrong shape"),
        ("/actuators/room-1", b'{"level":1.5}', "wrong shape"),
    ],
)
def test_untypable_payload_is_listed_with_the_reason(
    database: Database, deliver: Deliver, topic: str, payload: bytes, reason: str
) -> None:
    good = deliver(READING, b'{"sensorID":"good","type":"temperature","value":1}')
    assert store(database, good, deliver(topic, payload)) == 1
    (found,) = rows(database, "SELECT component, topic, reason, payload, payload_raw FROM rejected_message")
    assert found[:2] == ("recorder", topic)
    assert str(found[2]).startswith(reason)
    kept = found[3].encode() if isinstance(found[3], str) else found[4]
    assert kept == payload
    assert rows(database, "SELECT count(*) FROM messages") == [(2,)]
    assert rows(database, "SELECT sensor FROM room_temperature") == [("good",)]


@pytest.mark.parametrize("level", [0, 100])
def test_range_includes_its_ends(database: Database, deliver: Deliver, level: int) -> None:
    assert store(database, deliver("/actuators/r", b'{"level":%d}' % level)) == 0
    assert rows(database, "SELECT level FROM valve_level") == [(level,)]


@pytest.mark.parametrize("payload", [b"text", b"\xff\xfe", b"", b'"quoted" \\ \n'])
def test_rejections_of_components_are_listed_whole(database: Database, deliver: Deliver, payload: bytes) -> None:
    bad = deliver(READING, payload).delivery
    publication = rejection("heating", bad.topic, bad.payload, "not JSON")
    assert store(database, deliver(publication.topic, publication.payload)) == 0
    ((component, topic, reason, text, raw),) = rows(
        database, "SELECT component, topic, reason, payload, payload_raw FROM rejected_message"
    )
    assert (component, topic, reason) == ("heating", READING, "not JSON")
    assert (text.encode() if isinstance(text, str) else raw) == payload


def test_rows_of_an_earlier_run_do_not_count_as_this_batch(database: Database, deliver: Deliver) -> None:
    early = deliver("t", b"new")
    store(database, deliver("t", b"old"), deliver("t", b"older"))
    between = TimedDelivery(early.at_us + 1, deliver("u", b"other").delivery)
    batch = arrow_table([early, between, deliver("t", b"last")], 1, StreamCodes())
    assert database.remaining(batch, database.last_number).num_rows == 3


def test_message_refused_by_a_typed_table_is_stored_raw(
    database: Database, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_sql = TypedStream.insert_sql
    strict = "CASE WHEN received_at IS NOT NULL AND sensor = 'bad' THEN error('no') END IS NULL AND"
    monkeypatch.setattr(
        TypedStream,
        "insert_sql",
        lambda self, code: insert_sql(self, code).replace("WHERE fault IS NULL", f"WHERE {strict} fault IS NULL"),
    )
    names = ["a", "b", "bad", "c", "d"]
    batch = [deliver(READING, b'{"sensorID":"%s","type":"temperature","value":1}' % name.encode()) for name in names]
    assert store(database, *batch) == 1
    assert rows(database, "SELECT count(*) FROM messages") == [(5,)]
    assert rows(database, "SELECT sensor FROM room_temperature ORDER BY received_at") == [("a",), ("b",), ("c",), ("d",)]
    assert rows(database, "SELECT reason FROM rejected_message") == [("the typed table refused it",)]


def test_remaining_rows_after_a_failed_attempt(database: Database, deliver: Deliver) -> None:
    batch = arrow_table([deliver("t", name) for name in (b"a", b"b", b"c")], 1, StreamCodes())
    store(database, deliver("t", b"before"))
    before = database.last_number
    assert database.remaining(batch, before).num_rows == 3
    database.commit(batch.slice(0, 2))
    assert database.remaining(batch, before).column("payload").to_pylist() == ["c"]
    database.commit(database.remaining(batch, before))
    assert database.remaining(batch, before).num_rows == 0
    assert database.commit(database.remaining(batch, before)).rejected == 0
    assert rows(database, "SELECT payload FROM messages") == [("before",), ("a",), ("b",), ("c",)]


@pytest.mark.parametrize("durable", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("reopened", [False, True])
def test_remaining_rows_across_a_clock_that_stepped_back(
    database: Database, deliver: Deliver, durable: int, reopened: bool
) -> None:
    """The batch straddles the step: its last rows arrive at the times of earlier ones with the same topic, of QoS 0."""
    earlier = [deliver("t", b"same", qos=0) for _ in range(4)]
    store(database, *earlier)
    late = earlier[-1].at_us + 40 * 86_400_000_000
    delivery = earlier[0].delivery
    times = [late, late + 1, earlier[1].at_us, earlier[2].at_us]
    batch = arrow_table([TimedDelivery(at_us, delivery) for at_us in times], 1, StreamCodes())
    before = database.last_number
    if durable:
        database.commit(batch.slice(0, durable))
    if reopened:
        database._close_file()
    database.commit(database.remaining(batch, before))
    assert rows(database, "SELECT epoch_us(received_at) FROM messages WHERE number > 4 ORDER BY number") == [
        (t,) for t in times
    ]
    assert rows(database, "SELECT number FROM messages ORDER BY number") == [(n,) for n in range(1, 9)]


def test_low_disk_commits_nothing(database: Database, deliver: Deliver, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("storage.database.database.shutil.disk_usage", lambda _path: usage(10, 10, 0))
    with pytest.raises(NoSpace, match="make room"):
        store(database, deliver("t", b"1"))
    monkeypatch.undo()
    store(database, deliver("t", b"1"))
    assert rows(database, "SELECT count(*) FROM messages") == [(1,)]


def test_failed_database_is_reopened_during_a_query(database: Database, deliver: Deliver) -> None:
    store(database, deliver("t", b"1"))
    ended = threading.Event()

    def long_query() -> None:
        with contextlib.suppress(duckdb.Error), database.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM range(100000) a, range(100000) b, range(1000) c").fetchall()
        ended.set()

    query = threading.Thread(target=long_query)
    query.start()
    assert not ended.wait(0.3)
    with pytest.raises(StorageError, match="the database failed"), database._writing():
        raise duckdb.FatalException("the database has been invalidated")
    assert ended.wait(10)
    query.join()
    store(database, deliver("t", b"2"))
    assert rows(database, "SELECT payload FROM messages") == [("1",), ("2",)]


def test_closed_database_lends_no_cursor(database: Database) -> None:
    database.close()
    with pytest.raises(StorageError, match="not open"), database.cursor():
        pass


def test_committed_messages_survive_reopening(tmp_path: Path, deliver: Deliver) -> None:
    path = tmp_path / "reopened.duckdb"
    for payload in (b"1", b"2"):
        database = Database(path, 256, 1)
        store(database, deliver("t", payload))
        database.close()
    database = Database(path, 256, 1)
    assert rows(database, "SELECT payload FROM messages") == [("1",), ("2",)]
    assert rows(database, "SELECT number FROM schema_migration") == [(number,) for number in NUMBERS]
    database.close()


def test_database_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    database = Database(tmp_path / "new.duckdb", 256, 1)
    with database.cursor() as cursor:
        cursor.execute("INSERT INTO schema_migration VALUES (9999, 'future', now())")
    database.close()
    with pytest.raises(DatabaseTooNew, match="9999"):
        Database(tmp_path / "new.duckdb", 256, 1)


def test_second_recorder_is_given_the_holder_of_the_database(tmp_path: Path) -> None:
    import os
    import subprocess
    import sys

    database = Database(tmp_path / "held.duckdb", 256, 1)
    code = (
        "from storage.database.database import Database; from pathlib import Path; "
        f"Database(Path({str(database.path)!r}), 256, 1)"
    )
    second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    database.close()
    assert DatabaseLocked.__name__ in second.stderr
    assert str(os.getpid()) in second.stderr


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(5, "no"), duckdb.OutOfMemoryException("no"), duckdb.IOException("no")]
)
@pytest.mark.parametrize("step", ["_type_rows", "_rows_by_stream", "_number"])
def test_failed_attempt_is_repeated_as_a_whole(
    database: Database, deliver: Deliver, monkeypatch: pytest.MonkeyPatch, error: Exception, step: str
) -> None:
    store(database, deliver(READING, b'{"sensorID":"s","type":"temperature","value":0}'))
    batch = [deliver(READING, b'{"sensorID":"s","type":"temperature","value":%d}' % n) for n in (1, 2, 3)]
    table = arrow_table(batch, 1, StreamCodes())
    original, failures, before = getattr(database_module, step), [error] * 4, database.last_number

    def fail(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return original(*arguments)

    monkeypatch.setattr(database_module, step, fail)
    while True:
        try:
            database.commit(database.remaining(table, before))
        except (StorageError, MemoryError, OSError):
            continue
        break
    database.close()
    reopened = Database(database.path, 256, 1)
    numbers = rows(reopened, "SELECT number FROM messages ORDER BY number")
    assert numbers == [(1,), (2,), (3,), (4,)]
    typed = "SELECT number FROM room_temperature UNION ALL SELECT number FROM rejected_message"
    assert rows(reopened, f"SELECT number FROM ({typed}) ORDER BY number") == numbers
    assert reopened.last_number == 4
    reopened.close()


def test_ordinary_failure_interrupts_no_query(database: Database, deliver: Deliver) -> None:
    with database.cursor() as reading:
        rows_left = reading.execute("SELECT * FROM range(100000)")
        with pytest.raises(StorageError, match="nowhere"):
            database.transact(lambda connection: connection.execute("SELECT nothing FROM nowhere"))
        assert len(rows_left.fetchall()) == 100_000
    store(database, deliver("t", b"1"))


def test_uninterruptible_query_is_reported(tmp_path: Path, deliver: Deliver, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck: list[bool] = []
    monkeypatch.setattr(database_module, "QUERIES_END_S", 0.1)
    database = Database(tmp_path / "stuck.duckdb", 256, 1, on_stuck=lambda: stuck.append(True))
    with database.cursor(), pytest.raises(StorageError), database._writing():  # there is no statement that could be interrupted
        raise duckdb.FatalException("the database has been invalidated")
    assert stuck == [True]
    database.close()
