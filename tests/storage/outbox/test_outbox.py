import asyncio
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from broker.contract.outbox import Range, covered, ranges
from storage.database.database import Database
from storage.outbox.export import OutboxFiles
from storage.outbox.service import Outbox
from storage.retention.archive import Archive
from tests.storage.conftest import Past, a_day, ask, direct, silent

DAY = date(2026, 11, 1)


@pytest.mark.parametrize(
    ("upto", "known", "expected"),
    [(0, [], 0), (0, [(1, 5)], 5), (3, [(1, 5), (6, 9)], 9), (5, [(1, 5), (7, 9)], 5), (9, [(1, 5)], 9), (2, [(4, 5)], 2)],
)
def test_ranges_continue_without_a_gap(upto: int, known: list[tuple[int, int]], expected: int) -> None:
    assert covered(upto, [Range(*each) for each in known]) == expected


def test_incomplete_ranges_are_not_seen() -> None:
    complete = Range(1, 5).name
    assert ranges(["upto", f"{complete}.part", f"{complete}.done", complete]) == [Range(1, 5)]


def test_a_range_has_all_rows_live_and_archived(past: Past, database: Database) -> None:
    past.record(DAY, a_day())
    past.record(date(2026, 11, 2), a_day())
    Archive(database, direct).move(DAY, silent)
    files = OutboxFiles(database)
    last = database.last_number
    files.write(Range(1, last))
    folder = files.folder / Range(1, last).name
    assert pq.read_table(folder / "messages.parquet").num_rows == last
    ((typed,),) = ask(database, "SELECT count(*) FROM room_temperature")
    assert pq.read_table(folder / "room_temperature.parquet").num_rows == typed
    assert not {"session", "packet_id"} & set(pq.read_schema(folder / "messages.parquet").names)
    assert not (folder / "valve_level.parquet").exists() or typed


def test_what_the_lake_lacks_is_written_again(past: Past, database: Database) -> None:
    past.record(DAY, a_day())
    files, last = OutboxFiles(database), database.last_number
    (files.folder / "upto").write_text(str(last))
    assert files.closed() == last
    (files.folder / "upto").write_text("7")  # the catalog was restored
    assert files.closed() == 7


def test_full_outbox_leaves_rows_in_the_database(past: Past, database: Database) -> None:
    past.record(DAY, a_day())
    outbox = Outbox(database, lambda: True, largest_bytes=1)
    asyncio.run(outbox.finish())
    past.record(DAY, a_day())
    again = Outbox(database, lambda: True, largest_bytes=1)
    asyncio.run(again.finish())
    assert len(OutboxFiles(database).waiting()) == 1
    assert OutboxFiles(database).closed() < database.last_number


def test_site_that_is_not_joined_writes_nothing(past: Past, database: Database, tmp_path: Path) -> None:
    past.record(DAY, a_day())
    outbox = Outbox(database, lambda: False, largest_bytes=1 << 30)
    asyncio.run(outbox.finish())
    assert outbox.forwarded() is None
    assert not (tmp_path / "outbox").exists()
