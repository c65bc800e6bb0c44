import json
import logging
import math
from collections import defaultdict, namedtuple
from datetime import date, timedelta
from typing import Any

import pytest

from storage.database.database import Database
from storage.errors import ArchiveFailed
from storage.retention.archive import Archive
from storage.retention.maintenance import Maintenance
from storage.retention.policy import Policy, parse_policy
from storage.retention.purge import Purge
from tests.storage.conftest import Past, a_day, ask, content, direct, silent
from tests.storage.databases.make import property_of

FIRST, SECOND, THIRD, TODAY = (date(2026, 11, day) for day in (1, 2, 3, 4))
MEANS = "SELECT topic, field, mean, minimum, maximum, samples FROM message_mean ORDER BY ALL"
BALANCE = """
SELECT (SELECT count(*) FROM messages) + (SELECT coalesce(sum(messages), 0) FROM expired_message) FROM (SELECT 1)
"""


@pytest.fixture
def archive(database: Database) -> Archive:
    return Archive(database, direct)


def archived(past: Past, archive: Archive, day: date = FIRST, *messages: tuple[str, bytes]) -> None:
    past.record(day, messages or a_day(), 1)
    archive.move(day, silent)


def purge(database: Database, policy: str | Policy, today: date = TODAY) -> int:
    parsed = parse_policy(policy) if isinstance(policy, str) else policy
    return Maintenance(database, direct).purge(parsed, today, silent)


def test_purge_deletes_messages_with_their_typed_rows(database: Database, past: Past, archive: Archive) -> None:
    for day in (FIRST, SECOND, THIRD):
        archived(past, archive, day)
    past.record(TODAY, a_day(), 1)
    expired = f"(topic LIKE '/readings/room-1/%' OR topic LIKE 'noise/%') AND received_at::DATE < '{THIRD}'"
    numbers = {number for (number,) in ask(database, f"SELECT number FROM messages WHERE {expired}")}
    tables = ("messages", "rejected_message", "room_temperature", "valve_level", "component_state")
    before = {table: ask(database, f"FROM {table} ORDER BY ALL") for table in tables}
    assert purge(database, "/readings/room-1/# keep 1d raw\nnoise/# keep 1d raw") == len(numbers)
    for table, rows in before.items():
        assert ask(database, f"FROM {table} ORDER BY ALL") == [row for row in rows if row[0] not in numbers], table
    assert ask(database, BALANCE) == [(database.last_number,)]
    assert ask(database, MEANS) == []


def test_second_purge_deletes_nothing(database: Database, past: Past, archive: Archive) -> None:
    archived(past, archive)
    policy = "/readings/# keep 1d raw, keep 1y 15-min means"
    assert purge(database, policy) > 0
    before, expired = content(database), ask(database, "FROM expired_message")
    assert purge(database, policy) == 0
    assert (content(database), ask(database, "FROM expired_message")) == (before, expired)


@pytest.mark.parametrize(("days", "count"), [(2, 0), (3, 0), (4, 20), (5, 20)])
def test_age_counts_in_days(days: int, count: int, database: Database, past: Past, archive: Archive) -> None:
    archived(past, archive)
    assert purge(database, '"#" keep 3d raw', FIRST + timedelta(days=days)) == count


def test_first_matching_line_decides(database: Database, past: Past, archive: Archive) -> None:
    archived(past, archive)
    purge(database, "/readings/room-1/# forever\n/readings/# keep 0d raw\n/readings/room-1/temperature keep 0d raw\n# forever")
    rooms = {room for (room,) in ask(database, "SELECT DISTINCT room FROM room_temperature")}
    assert rooms == {"room-1"}
    assert ask(database, "SELECT count(*) FROM messages WHERE topic LIKE 'noise/%'") == [(2,)]


def test_live_and_unlimited_messages_are_not_deleted(database: Database, past: Past, archive: Archive) -> None:
    archived(past, archive)
    past.record(SECOND, a_day())
    before = content(database)
    assert purge(database, '# forever\n"#" keep 0d raw', date(2099, 1, 1)) == 0
    assert purge(database, Policy(), date(2099, 1, 1)) == 0
    assert content(database) == before
    assert purge(database, '"#" keep 0d raw', date(2099, 1, 1)) == len(a_day())
    assert ask(database, "SELECT count(*) FROM messages") == [(len(a_day()),)]


def test_numbers_are_never_reused(database: Database, past: Past, archive: Archive) -> None:
    """Even if the newest messages, or all of them, are deleted."""
    for day in (FIRST, SECOND):
        archived(past, archive, day)
    purge(database, '"#" keep 0d raw')
    assert ask(database, "SELECT count(*) FROM messages") == [(0,)]
    database.close()
    reopened = Database(database.path, 256, 1)
    last = reopened.last_number
    reopened.close()
    assert last == 2 * len(a_day())


def test_deleted_messages_are_counted_by_publisher(database: Database, past: Past, archive: Archive) -> None:
    stamp = property_of(b"source", b"heating") + property_of(b"boot", b"b1")
    for number in range(3):
        past.record(FIRST, [("t", b"1")], 1, stamp + property_of(b"seq", str(number).encode()))
    past.record(FIRST, [("t", b"1"), ("u", b"1")], 2)
    archive.move(FIRST, silent)
    assert purge(database, "t keep 1d raw") == 4
    assert ask(database, "SELECT day, source, boot, messages FROM expired_message ORDER BY ALL") == [
        (FIRST, "heating", "b1", 3),
        (FIRST, None, None, 1),
    ]


PAYLOADS = (
    b'{"a":1,"b":-2.5,"s":"7","t":true,"n":null,"l":[1,2],"o":{"x":3}}',
    b'{"a":3,"b":1e2,"a/b":4,"a~b":5,"":6,"~1":7,"$.a":8,"gr\xc3\xb6\xc3\x9fe":9,"a.b":10,"0":11,"a\\"b":12,"*":13}',
    b'{"a":"text","b":18446744073709551615}',
    b'{"a":123456789012345678901234567890,"big":1e400}',
    b' { "a" : 0 } ',
    b"{}",
    b"[]",
    b"[1,2]",
    b"21.5",
    b" -3 ",
    b'"21.5"',
    b"true",
    b"null",
    b"",
    b"garbage {",
    b"\xff\xfe",
    b"1e400",
    b"NaN",
)


def plain_means(payloads: list[bytes]) -> list[tuple[Any, ...]]:
    """Compute the means in plain Python."""
    found = defaultdict(list)
    for payload in payloads:
        try:
            value = json.loads(payload)
        except ValueError:
            continue
        for field, number in value.items() if isinstance(value, dict) else [("", value)]:
            if isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number):
                found[field].append(float(number))
    rows = ((field, sum(each) / len(each), min(each), max(each), len(each)) for field, each in found.items())
    return sorted(("m", *row) for row in rows)


def test_means_equal_those_of_plain_python(database: Database, past: Past, archive: Archive) -> None:
    archived(past, archive, FIRST, *(("m", payload) for payload in PAYLOADS), *(("n", payload) for payload in PAYLOADS))
    assert purge(database, "m keep 1d raw, keep 1y 15-min means\nn keep 1d raw") == 2 * len(PAYLOADS)
    found, wanted = sorted(ask(database, MEANS)), plain_means(list(PAYLOADS))
    assert [row[:2] for row in found] == [row[:2] for row in wanted]
    for row, right in zip(found, wanted, strict=True):
        assert row[2:] == pytest.approx(right[2:]), row[1]


def test_means_use_plant_time_if_present(database: Database, past: Past, archive: Archive) -> None:
    plant = property_of(b"plant-time", b"2026-01-31T08:14:59.999Z")
    later = property_of(b"plant-time", b"2026-01-31T08:15:00Z")
    past.record(FIRST, [("t", b"1"), ("t", b"3")], 1, plant)
    past.record(FIRST, [("t", b"5")], 1, later)
    past.record(FIRST, [("t", b"7")], 13.25 - 1 / 3600)
    past.record(FIRST, [("t", b"9")], 13.25)
    archive.move(FIRST, silent)
    purge(database, "t keep 1d raw, keep 1y 15-min means")
    sql = "SELECT start_at::VARCHAR, mean, samples, received_at::DATE FROM message_mean ORDER BY start_at"
    assert ask(database, sql) == [
        ("2026-01-31 08:00:00+00", 2.0, 2, FIRST),
        ("2026-01-31 08:15:00+00", 5.0, 1, FIRST),
        ("2026-11-01 13:00:00+00", 7.0, 1, FIRST),
        ("2026-11-01 13:15:00+00", 9.0, 1, FIRST),
    ]
    assert ask(database, "SELECT count(*) FROM live.message_mean") == [(0,)]


@pytest.mark.parametrize(("days", "left"), [(9, 2), (10, 2), (11, 1)])
def test_means_expire(days: int, left: int, database: Database, past: Past, archive: Archive) -> None:
    archived(past, archive, FIRST, ("a", b"1"), ("b", b"2"), ("c", b"3"))
    policy = "a keep 1d raw, keep 10d 15-min means\nb keep 1d raw, keep 20d 15-min means\nc forever"
    purge(database, policy)
    assert len(ask(database, MEANS)) == 2
    assert purge(database, policy, FIRST + timedelta(days=days)) == 0
    assert len(ask(database, MEANS)) == left
    there = {str(path.relative_to(database.archive)) for path in database.archive.rglob("*.parquet")}
    assert there == {path for (path,) in ask(database, "SELECT path FROM archive_file WHERE state = 'archived'")}


def test_expired_means_are_not_made(database: Database, past: Past, archive: Archive) -> None:
    archived(past, archive, FIRST, ("a", b"1"))
    purge(database, "a keep 1d raw, keep 10d 15-min means", FIRST + timedelta(days=11))
    assert ask(database, MEANS) == []
    assert ask(database, BALANCE) == [(1,)]


def test_restored_day_with_means_stays(database: Database, past: Past, archive: Archive) -> None:
    archived(past, archive)
    policy = "/readings/# keep 1d raw, keep 1y 15-min means"
    purge(database, policy)
    before = content(database)
    maintenance = Maintenance(database, direct)
    assert maintenance.restore(FIRST, silent) > 0
    for _ in range(2):
        maintenance.run(parse_policy(policy), TODAY, silent)
        assert archive.files.of_day(FIRST) == []
        assert content(database) == before
    maintenance.run(parse_policy(policy), TODAY, silent, FIRST)
    assert ask(database, "SELECT count(*) FROM live.message_mean") == [(0,)]
    assert content(database) == before


def no_room_until(monkeypatch: pytest.MonkeyPatch, database: Database, files: int) -> None:
    """Simulate a full disk until the archive has at most `files` files."""
    usage = namedtuple("usage", "total used free")

    def free(_path: object) -> Any:
        return usage(0, 0, 10**12 if len(list(database.archive.rglob("messages*.parquet"))) <= files else 1)

    monkeypatch.setattr("storage.database.database.shutil.disk_usage", free)


def test_floor_deletes_the_oldest_days_and_logs_it(
    database: Database, past: Past, archive: Archive, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for day in (FIRST, SECOND, THIRD):
        archived(past, archive, day, ("a", b"1"), ("a", b"2"))
    no_room_until(monkeypatch, database, 1)
    with caplog.at_level(logging.WARNING):
        assert purge(database, "floor 1GB\na keep 1y raw, keep 2y 15-min means") == 4
    assert archive.files.days() == [THIRD]
    assert "deleted 2 messages of 2026-11-01 early" in caplog.text
    assert "deleted 2 messages of 2026-11-02 early" in caplog.text
    assert "2026-11-03" not in caplog.text
    assert ask(database, MEANS) == []
    assert ask(database, BALANCE) == [(6,)]


def test_floor_deletes_nothing_that_has_no_limit(
    database: Database, past: Past, archive: Archive, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for day in (FIRST, SECOND):
        archived(past, archive, day, ("a", b"1"), ("b", b"2"))
    no_room_until(monkeypatch, database, -1)
    assert purge(database, "floor 1GB\na keep 1y raw") == 2
    assert ask(database, "SELECT topic, count(*) FROM messages GROUP BY ALL") == [("b", 2)]
    assert purge(database, "floor 1GB\na keep 1y raw") == 0


def test_nothing_is_deleted_early_above_the_floor(database: Database, past: Past, archive: Archive) -> None:
    archived(past, archive)
    assert purge(database, 'floor 1MB\n"#" keep 1y raw') == 0


def test_damaged_file_is_named_and_blocks_no_other_day(database: Database, past: Past, archive: Archive) -> None:
    for day in (FIRST, SECOND):
        archived(past, archive, day)
    (path,) = (database.archive / "day=2026-11-01").glob("messages*")
    whole = path.read_bytes()
    path.write_bytes(b"damaged")
    with pytest.raises(ArchiveFailed, match=r"day=2026-11-01/messages-000000000001\.parquet cannot be read"):
        purge(database, '"#" keep 1d raw')
    assert archive.files.days() == [FIRST]
    path.write_bytes(whole)
    assert purge(database, '"#" keep 1d raw') == len(a_day())
    assert ask(database, BALANCE) == [(database.last_number,)]


def test_failed_rewrite_leaves_only_the_old_file(
    database: Database, past: Past, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archived(past, archive)
    before, files = content(database), sorted(database.archive.rglob("*.parquet"))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("storage.retention.archive_files.sync_file", full)
    with pytest.raises(ArchiveFailed, match="No space left"):
        purge(database, "/readings/# keep 1d raw")
    monkeypatch.undo()
    assert content(database) == before
    assert [path for path in sorted(database.archive.rglob("*")) if path.is_file()] == files
    assert ask(database, "FROM expired_message") == []


def test_purge_reports_progress(database: Database, past: Past, archive: Archive) -> None:
    for day in (FIRST, SECOND):
        archived(past, archive, day, ("a", b"1"))
    reported: list[tuple[str, int, int]] = []
    Purge(archive.files, parse_policy('"#" keep 0d raw'), TODAY).run(lambda *progress: reported.append(progress))
    assert reported == [("deleting expired messages", 0, 2), ("deleting expired messages", 1, 2)]
