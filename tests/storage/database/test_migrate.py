import gzip
import os
import signal
from collections.abc import Callable
from contextlib import closing
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import pytest

from storage.database import migrate as migrations
from storage.database.database import Database
from storage.database.migrate import migrate
from storage.errors import DatabaseTooNew, StorageError
from storage.query.sandbox import open_read_only
from tests.storage.conftest import Past, ask
from tests.storage.databases.make import FOLDER, MESSAGES, SESSIONS, arrived

NUMBERS = sorted(
    int(entry.name[:4]) for entry in files("storage.database").joinpath("migrations").iterdir() if entry.name.endswith(".sql")
)
COUNT = SESSIONS * len(MESSAGES)
ROUND = len(MESSAGES)


def unpacked(number: int, folder: Path) -> Path:
    path = folder / "scaup.duckdb"
    path.write_bytes(gzip.decompress((FOLDER / f"{number:04}.duckdb.gz").read_bytes()))
    return path


def messages() -> list[tuple[Any, ...]]:
    """Return the expected rows of `messages`, the same for every schema."""
    found = []
    for number in range(1, COUNT + 1):
        topic, payload, properties = MESSAGES[(number - 1) % ROUND]
        utf8 = payload != b"\xff\xfe\x00"
        stamp = ("sensors", "b1", 7, 1_769_846_400_000_000) if properties else (None, None, None, None)
        session = (number - 1) // ROUND + 1
        text, raw = (payload.decode(), None) if utf8 else (None, payload)
        found.append((number, arrived(number), topic, text, raw, 1, False, *stamp, session, number))
    return found


MESSAGES_SQL = """
SELECT number, epoch_us(received_at), topic, payload, payload_raw, qos, retain, source, boot, seq, epoch_us(event_at), session,
    packet_id FROM messages ORDER BY number
"""
TYPED_SQL: dict[str, list[tuple[Any, ...]]] = {
    "SELECT number, room, sensor, celsius, event_at IS NOT NULL FROM room_temperature ORDER BY number": [
        (1, "room-1", "s-1", 21.5, True),
        (2, "room-2", "s-2", -3.0, False),
    ],
    "SELECT number, room, level FROM valve_level WHERE level IS NOT NULL ORDER BY number": [(5, "room-1", 14)],
    "SELECT number, component, state, boot, version FROM component_state ORDER BY number": [(7, "heating", "online", "b", "1")],
    "SELECT number, component, topic, payload, payload_raw FROM rejected_message ORDER BY number": [
        (3, "recorder", "/readings/room-1/temperature", "garbage", None),
        (4, "recorder", "/readings/room-1/temperature", None, b"\xff\xfe\x00"),
        (6, "recorder", "/actuators/room-1", '{"level":101}', None),
        (8, "heating", "t", "x", None),
    ],
}


@pytest.mark.parametrize("number", NUMBERS)
def test_sample_database_exists_for_each_schema(number: int) -> None:
    path = FOLDER / f"{number:04}.duckdb.gz"
    assert path.exists(), "make it with the code that has the new migration: python -m tests.storage.databases.make"
    assert path.stat().st_size < 100_000


@pytest.mark.parametrize("number", NUMBERS)
def test_database_of_each_schema_is_upgraded_in_place(number: int, tmp_path: Path) -> None:
    with closing(Database(unpacked(number, tmp_path), 256, 1)) as database:
        assert ask(database, MESSAGES_SQL) == messages()
        for sql, rows in TYPED_SQL.items():
            second = [(first + ROUND, *rest) for first, *rest in rows]
            assert ask(database, sql) == rows + second, sql
        assert ask(database, "SELECT number FROM schema_migration ORDER BY number") == [(each,) for each in NUMBERS]
        assert ask(database, "SELECT session FROM mqtt_session") == [(1,), (2,)]
        recorded = "SELECT table_type FROM information_schema.tables WHERE table_schema = 'main' AND table_name IN (SELECT {})"
        assert set(ask(database, recorded.format("table_name FROM information_schema.tables WHERE table_schema = 'live'"))) == {
            ("VIEW",)
        }


@pytest.mark.parametrize("number", NUMBERS)
def test_recording_continues_in_an_upgraded_database(number: int, tmp_path: Path) -> None:
    path = unpacked(number, tmp_path)
    for day in (16, 17):
        with closing(Database(path, 256, 1)) as database:
            assert (database.last_number, database.session()) == (COUNT + (day - 16) * 2, SESSIONS)
            Past(database).record(date(2027, 1, day), [("/actuators/room-9", b'{"level":5}'), ("x", b"new")])
    with closing(open_read_only(path)) as connection:
        last = connection.execute(f"SELECT number, payload FROM messages WHERE number > {COUNT} ORDER BY number").fetchall()
        levels = connection.execute("SELECT number FROM valve_level WHERE room = 'room-9' ORDER BY number").fetchall()
    assert [number for number, _ in last] == list(range(COUNT + 1, COUNT + 5))
    assert levels == [(COUNT + 1,), (COUNT + 3,)]


def test_upgrade_numbers_messages_of_schema_1_by_arrival(tmp_path: Path) -> None:
    path = unpacked(1, tmp_path)
    connection = duckdb.connect(str(path))
    connection.execute(
        f"""INSERT INTO messages (received_at, topic, payload, qos, retain, session)
            SELECT make_timestamptz({arrived(COUNT)} + 1 + i), 't', i::VARCHAR, 1, false, 2 FROM range(300000) AS r(i)"""
    )
    connection.close()
    with closing(Database(path, 512, 1)) as database:
        wrong = f"SELECT count(*) FROM messages WHERE number > {COUNT} AND payload::BIGINT <> number - {COUNT + 1}"
        assert ask(database, wrong) == [(0,)]
        assert database.last_number == COUNT + 300_000


def test_database_of_a_later_schema_is_refused_unchanged(tmp_path: Path) -> None:
    path = unpacked(NUMBERS[-1], tmp_path)
    connection = duckdb.connect(str(path))
    connection.execute("INSERT INTO schema_migration VALUES (?, 'later', now())", [NUMBERS[-1] + 1])
    connection.close()
    before = path.read_bytes()
    with pytest.raises(
        DatabaseTooNew, match=f"has migration {NUMBERS[-1] + 1}, this release knows {NUMBERS[-1]}: upgrade Scaup"
    ):
        Database(path, 256, 1)
    assert path.read_bytes() == before


HALF = "CREATE TABLE half (i INTEGER); INSERT INTO half VALUES (1); DELETE FROM live.messages; "


@pytest.fixture
def next_migration(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    known = migrations._available()

    def provide(sql: str) -> None:
        monkeypatch.setattr(migrations, "_available", lambda: known | {NUMBERS[-1] + 1: ("next", sql)})

    return provide


@pytest.mark.parametrize(
    "failure", ["SELECT error('no')", "SELECT * FROM missing", "CREATE TABLE half (i INTEGER)", "nonsense"]
)
def test_failed_migration_leaves_the_earlier_schema(
    failure: str, tmp_path: Path, next_migration: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = unpacked(NUMBERS[-1], tmp_path)
    next_migration(HALF + failure)
    with pytest.raises(StorageError, match="cannot be opened"):
        Database(path, 256, 1)
    monkeypatch.undo()
    with closing(Database(path, 256, 1)) as database:
        assert ask(database, MESSAGES_SQL) == messages()
        assert ask(database, "SELECT count(*) FROM information_schema.tables WHERE table_name = 'half'") == [(0,)]


def test_failed_migration_leaves_no_open_transaction(next_migration: Callable[[str], None]) -> None:
    connection = duckdb.connect(":memory:")
    migrate(connection)
    next_migration(HALF + "SELECT error('no')")
    with pytest.raises(duckdb.Error, match="no"):
        migrate(connection)
    connection.execute("BEGIN")
    connection.execute("ROLLBACK")
    assert connection.execute("SELECT max(number) FROM schema_migration").fetchall() == [(NUMBERS[-1],)]
    connection.close()


@pytest.mark.parametrize("number", NUMBERS[:-1])
@pytest.mark.parametrize("killed_at", ["INSERT INTO schema_migration", "COMMIT"])
def test_killed_migration_is_repeated_at_the_next_start(number: int, killed_at: str, tmp_path: Path) -> None:
    path = unpacked(number, tmp_path)
    child = os.fork()
    if child == 0:
        _open_and_die(path, killed_at)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    with closing(Database(path, 256, 1)) as database:
        assert ask(database, MESSAGES_SQL) == messages()


def _open_and_die(path: Path, killed_at: str) -> None:
    cursor: Any = duckdb.DuckDBPyConnection
    execute = cursor.execute

    def dying(connection: duckdb.DuckDBPyConnection, sql: str, *parameters: Any) -> Any:
        if sql.startswith(killed_at):
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(connection, sql, *parameters)

    cursor.execute = dying
    try:
        Database(path, 256, 1)
    finally:
        os._exit(1)
