"""Kill -9 before and after every call with an outside effect, while days are archived, compacted, deleted and restored.

`SCAUP_ALL_CRASH_STEPS=1` runs all of several hundred steps, otherwise a sample of them that takes a few seconds.
"""

import functools
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import FrameType
from typing import Any

import duckdb
import pytest

from storage.database.database import Database
from storage.retention import archive
from storage.retention.archive import Archive
from storage.retention.compact import compact
from storage.retention.maintenance import Maintenance
from storage.retention.policy import parse_policy
from tests.storage.conftest import Past, a_day, ask, direct, silent

FIRST, SECOND, TODAY = (date(2026, 11, day) for day in (1, 2, 4))
POLICY = parse_policy("/readings/room-1/# keep 1d raw, keep 1y 15-min means\nnoise/# keep 1d raw")
EXPIRED = "received_at < TIMESTAMPTZ '2026-11-03 00:00:00+00' AND (topic LIKE '/readings/room-1/%' OR topic LIKE 'noise/%')"
FOREIGN = ("notes.txt", "day=2026-11-01/mine.parquet", "day=2026-11-02/messages-000000000001.parquet.bak")
TYPED = ("rejected_message", "component_state", "room_temperature", "valve_level")
KEPT_WHOLE = ("mqtt_session", "schema_migration", "recorded_view")
OF_OS = frozenset(["mkdir", "rename", "unlink", "rmdir"])
"""`fsync` makes no difference here: written data outlives a killed process."""
SAMPLE = 6
ALL = os.environ.get("SCAUP_ALL_CRASH_STEPS") == "1"

Rows = dict[str, Counter[tuple[Any, ...]]]


def scenario(folder: Path) -> None:
    """Run every operation of the archive; continue where an earlier run was killed."""
    archive.PART_ROWS = 30
    database = Database(folder / "scaup.duckdb", 256, 1)
    maintenance, days = Maintenance(database, direct), Archive(database, direct)
    for day in days.closed_days(TODAY):
        days.move(day, silent)
    compact(database, direct, silent)
    maintenance.purge(POLICY, TODAY, silent)
    if days.files.of_day(SECOND):
        maintenance.restore(SECOND, silent)
    maintenance.run(POLICY, TODAY, silent)
    maintenance.run(POLICY, TODAY, silent, SECOND)
    database.close()


def prepare(folder: Path) -> None:
    """Record two days and a part of the current one; the clock is put back to the first day in between."""
    database = Database(folder / "scaup.duckdb", 256, 1)
    past = Past(database)
    database.begin_session()
    database.transact(_view)
    for day, hour in ((FIRST, 1), (SECOND, 1), (FIRST, 7), (TODAY, 1)):
        past.record(day, a_day(), hour)
    database.close()
    for name in FOREIGN:
        path = folder / "archive" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def _view(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("INSERT INTO recorded_view VALUES ('noise', 'noise/#', 'SELECT topic FROM messages', now())")


@dataclass(frozen=True)
class Expected:
    """The recorded rows of each table by number, the numbers that expire, and the values that go into means."""

    rows: dict[str, Rows]
    expired: set[int]
    numbers: dict[int, float]
    parts: set[frozenset[int]]

    @property
    def last_number(self) -> int:
        return len(self.rows["messages"])


def read_rows(database: Database, table: str) -> Any:
    found: dict[int, Counter[int]] = {}
    for number, digest in ask(database, f"SELECT number, hash(content) FROM {table} AS content"):
        found.setdefault(number, Counter())[digest] += 1
    return found


def expected_of(folder: Path) -> Expected:
    database = Database(folder / "scaup.duckdb", 256, 1)
    rows = {table: read_rows(database, table) for table in ("messages", *TYPED)}
    expired = {number for (number,) in ask(database, f"SELECT number FROM messages WHERE {EXPIRED}")}
    numbers = dict(
        ask(database, f"SELECT number, celsius FROM room_temperature WHERE room = 'room-1' AND number IN {tuple(expired)}")
    )
    days = [
        frozenset(number for (number,) in ask(database, f"SELECT number FROM messages WHERE received_at::DATE = '{day}'"))
        for day in (FIRST, SECOND)
    ]
    database.close()
    return Expected(rows, expired, numbers, {day & expired for day in days})


def check(folder: Path, expected: Expected, done: bool = False) -> None:
    """Open the database after a crash, or after the scenario's end, and compare everything in it."""
    database = Database(folder / "scaup.duckdb", 256, 1)
    try:
        check_rows(database, expected, done)
        check_files(database)
    finally:
        database.close()


def check_rows(database: Database, expected: Expected, done: bool) -> None:
    messages = read_rows(database, "messages")
    deleted = expected.rows["messages"].keys() - messages.keys()
    assert deleted <= expected.expired
    assert not done or deleted == expected.expired
    for table, rows in expected.rows.items():
        wanted = {number: digests for number, digests in rows.items() if number not in deleted}
        assert read_rows(database, table) == wanted, table
    assert ask(database, "SELECT coalesce(sum(messages), 0) FROM expired_message") == [(len(deleted),)]
    means = ask(database, "SELECT coalesce(sum(samples), 0), coalesce(sum(mean * samples), 0) FROM message_mean")
    values = [value for number, value in expected.numbers.items() if number in deleted]
    assert means == [(len(values), pytest.approx(sum(values)))]
    assert database.last_number == expected.last_number
    assert {table: ask(database, f"SELECT count(*) FROM {table}")[0][0] for table in KEPT_WHOLE} == dict.fromkeys(
        KEPT_WHOLE, 1
    ) | {"schema_migration": len(ask(database, "SELECT DISTINCT number FROM schema_migration"))}


def check_files(database: Database) -> None:
    root = database.archive
    there = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert ask(database, "SELECT DISTINCT state FROM archive_file WHERE state <> 'archived'") == []
    listed = {path for (path,) in ask(database, "SELECT path FROM archive_file")}
    assert there == listed | set(FOREIGN)
    assert {name: (root / name).read_text() for name in FOREIGN} == {name: name for name in FOREIGN}
    assert not database.compacting.exists()


class Steps:
    """Counts the calls with an outside effect, before and after each, and kills this process at one of them.

    A statement changes it where it commits, or is in no transaction; files are written by COPY.
    """

    def __init__(self, die_at: int) -> None:
        self._die_at, self.count, self._in_transaction = die_at, 0, False

    def watch(self) -> None:
        """Start counting in this process; it cannot be stopped."""
        cursor: Any = duckdb.DuckDBPyConnection
        cursor.execute = self._counted(cursor.execute)
        sys.setprofile(self._on_event)

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def counted(connection: duckdb.DuckDBPyConnection, *arguments: Any) -> Any:
            changes = self._changes(*arguments)
            self._step(changes)
            result = call(connection, *arguments)
            self._step(changes)
            return result

        return counted

    def _changes(self, sql: str, _parameters: Any = None) -> bool:
        first = sql.split(maxsplit=1)[0]
        if first in ("BEGIN", "COMMIT", "ROLLBACK"):
            self._in_transaction = first == "BEGIN"
            return first == "COMMIT"
        return first in ("COPY", "CHECKPOINT", "ATTACH", "DETACH") or not (first == "SELECT" or self._in_transaction)

    def _on_event(self, _frame: FrameType, event: str, function: Any) -> None:
        self._step(event.startswith("c_") and getattr(function, "__name__", "") in OF_OS)

    def _step(self, changes: bool) -> None:
        self.count += changes
        if changes and self.count == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)


def in_child(folder: Path, die_at: int = 0) -> int:
    """Run the scenario in a forked process; return the number of its steps, 0 if it was killed."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            steps = Steps(die_at)
            steps.watch()
            scenario(folder)
            sys.setprofile(None)
            os.write(write_end, str(steps.count).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write_end)
    _, status = os.waitpid(child, 0)
    with os.fdopen(read_end) as pipe:
        count = int(pipe.read() or 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or os.waitstatus_to_exitcode(status) == 0
    return count


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    prepare(folder)
    return folder


@pytest.fixture(scope="module")
def expected(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Expected:
    copy = tmp_path_factory.mktemp("expected") / "data"
    shutil.copytree(prepared, copy)
    return expected_of(copy)


@pytest.fixture(scope="module")
def steps(prepared: Path, tmp_path_factory: pytest.TempPathFactory, expected: Expected) -> int:
    """The number of steps of a complete run, whose result is checked too."""
    copy = tmp_path_factory.mktemp("whole") / "data"
    shutil.copytree(prepared, copy)
    count = in_child(copy)
    check(copy, expected, done=True)
    return count


def to_die_at(steps: int) -> Iterator[int]:
    """All steps, or a sample that is spread evenly and differs from run to run."""
    if ALL:
        yield from range(1, steps + 1)
        return
    offset = os.getpid() % (steps // SAMPLE)
    yield from range(1 + offset, steps + 1, steps // SAMPLE)


def test_run_has_many_steps(steps: int) -> None:
    assert steps > 300


@pytest.mark.timeout(7200 if ALL else 120)
def test_kill_at_any_step_loses_and_doubles_nothing(prepared: Path, expected: Expected, steps: int, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for step in to_die_at(steps):
        shutil.copytree(prepared, data)
        assert in_child(data, step) == 0, f"step {step}"
        try:
            check(data, expected)
            in_child(data)
            check(data, expected, done=True)
        except Exception as error:
            raise AssertionError(f"killed at step {step} of {steps}") from error
        shutil.rmtree(data)
