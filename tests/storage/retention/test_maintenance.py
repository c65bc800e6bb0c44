import asyncio
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from storage.clock import WallClock
from storage.database.database import Database
from storage.errors import ArchiveFailed, InvalidRequest
from storage.retention.maintenance import Maintenance, MaintenanceResult, MaintenanceService
from storage.retention.policy import Policy, parse_policy
from tests.storage.conftest import Past, a_day, ask, content, direct, silent

FIRST, SECOND, TODAY = (date(2026, 11, day) for day in (1, 2, 3))


@pytest.fixture
def maintenance(database: Database, past: Past) -> Maintenance:
    for day in (FIRST, SECOND, TODAY):
        past.record(day, a_day())
    return Maintenance(database, direct)


def test_closed_days_are_archived_once(database: Database, maintenance: Maintenance) -> None:
    before = content(database)
    done = maintenance.run(Policy(), TODAY, silent)
    assert (done.days, done.moved, done.deleted) == (2, 2 * len(a_day()), 0)
    assert content(database) == before
    assert ask(database, "SELECT DISTINCT received_at::DATE FROM live.messages") == [(TODAY,)]
    second = maintenance.run(Policy(), TODAY, silent)
    assert (second.days, second.moved) == (0, 0)


def test_live_days_of_the_policy_stay_in_the_database(database: Database, maintenance: Maintenance) -> None:
    assert maintenance.run(parse_policy("live 1d"), TODAY, silent).days == 1
    assert ask(database, "SELECT count(DISTINCT received_at::DATE) FROM live.messages") == [(2,)]


def test_single_day_can_be_archived(database: Database, maintenance: Maintenance) -> None:
    assert maintenance.run(parse_policy("live 9d"), TODAY, silent, FIRST).moved == len(a_day())
    assert ask(database, "SELECT DISTINCT day FROM archive_file") == [(FIRST,)]


@pytest.mark.parametrize("day", [TODAY, date(2026, 11, 4)])
def test_day_that_is_not_over_is_refused(day: date, database: Database, maintenance: Maintenance) -> None:
    with pytest.raises(InvalidRequest, match=f"{day} is not over: only days before {TODAY}"):
        maintenance.run(Policy(), TODAY, silent, day)
    assert ask(database, "FROM archive_file") == []


def test_messages_kept_for_no_day_are_archived_and_deleted(database: Database, maintenance: Maintenance) -> None:
    done = maintenance.run(parse_policy('"#" keep 0d raw'), TODAY, silent)
    assert (done.moved, done.deleted) == (2 * len(a_day()), 2 * len(a_day()))
    assert list(database.archive.rglob("*.parquet")) == []


def test_database_that_lost_most_rows_is_compacted(database: Database, past: Past, maintenance: Maintenance) -> None:
    past.record(SECOND, [("large", os.urandom(100_000).hex().encode()) for _ in range(60)], 3)
    before = content(database)
    done = maintenance.run(Policy(), TODAY, silent)
    assert done.before_bytes > 8_000_000 > 4_000_000 > done.after_bytes == sum(database.file_sizes)
    assert content(database) == before


def test_restored_day_stays_until_it_is_requested(database: Database, maintenance: Maintenance) -> None:
    before = content(database)
    maintenance.run(Policy(), TODAY, silent)
    assert maintenance.restore(FIRST, silent) == len(a_day())
    assert maintenance.run(Policy(), TODAY, silent).moved == 0
    assert maintenance.run(Policy(), TODAY, silent, FIRST).moved == len(a_day())
    assert content(database) == before
    with pytest.raises(ArchiveFailed, match="not in the archive"):
        maintenance.restore(TODAY, silent)


def test_result_is_readable() -> None:
    assert str(MaintenanceResult(2, 1_234_567, 0, 900_000_000, 1_500_000)) == (
        "1,234,567 messages of 2 days archived; database 900.0 MB → 1.5 MB"
    )
    assert ", 7 deleted by the retention policy;" in str(MaintenanceResult(0, 0, 7, 1, 1))


def service_run(database: Database, policy: Path, until: Callable[[], bool]) -> list[str | None]:
    """Run the daily schedule until a condition holds; return the warnings."""
    warnings: list[str | None] = []

    async def scenario() -> None:
        service = MaintenanceService(database, direct, policy, warnings.append, WallClock())
        running = asyncio.create_task(service.run_daily())
        async with asyncio.timeout(20):
            while not (warnings and until()):
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        service.stop()

    asyncio.run(scenario())
    return warnings


def test_schedule_archives_closed_days(
    database: Database, maintenance: Maintenance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.retention.maintenance._CHECK_S", 0.01)
    policy = tmp_path / "retention.conf"
    policy.write_text("# forever\n")
    Past(database).record(date(2020, 1, 1), a_day())
    archived = "SELECT count(*) FROM archive_file WHERE day = '2020-01-01' AND state = 'archived'"
    assert service_run(database, policy, lambda: ask(database, archived) != [(0,)])[0] is None


class SetClock:
    """A wall clock that can be set, and one that cannot."""

    def __init__(self) -> None:
        self.wall_s, self.running_s = 1_800_000_000.0, 5.0
        self.clock = WallClock(lambda: round(self.wall_s * 1e6), lambda: self.running_s)

    def wait(self, seconds: float) -> None:
        self.wall_s += seconds
        self.running_s += seconds


@pytest.mark.parametrize("step_s", [40 * 86_400, -40 * 86_400, 61])
def test_nothing_is_archived_while_the_clock_moved(
    database: Database, maintenance: Maintenance, tmp_path: Path, step_s: float
) -> None:
    (policy := tmp_path / "retention.conf").write_text('"#" keep 0d raw\n')
    time = SetClock()
    service = MaintenanceService(database, direct, policy, lambda warning: None, time.clock)
    before = content(database)
    time.wall_s += step_s
    for day in (None, FIRST):
        with pytest.raises(ArchiveFailed, match=r"the wall clock moved .*nothing is archived or deleted"):
            service.run(TODAY, day, silent)
    assert content(database) == before
    assert ask(database, "FROM archive_file") == []
    time.wait(3_601)
    service.run(TODAY, None, silent)
    assert ask(database, "SELECT DISTINCT received_at::DATE FROM messages") == [(TODAY,)]
    service.stop()


def test_schedule_waits_for_a_steady_clock(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.retention.maintenance._CHECK_S", 0.01)
    (policy := tmp_path / "retention.conf").write_text("# forever\n")
    time, warnings = SetClock(), list[str | None]()

    async def scenario() -> None:
        service = MaintenanceService(database, direct, policy, warnings.append, time.clock)
        time.wall_s += 40 * 86_400
        running = asyncio.create_task(service.run_daily())
        await asyncio.sleep(0.3)
        assert warnings == []
        time.wait(3_601)
        async with asyncio.timeout(20):
            while not warnings:
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        service.stop()

    asyncio.run(scenario())
    assert warnings[0] is None


def test_rows_of_the_future_let_nothing_else_expire(database: Database, maintenance: Maintenance) -> None:
    past = Past(database)
    past.record(date(2026, 12, 13), a_day())
    past.record(TODAY, a_day(), hour=1)
    maintenance.run(parse_policy('"#" keep 1d raw'), TODAY, silent)
    days = ask(database, "SELECT received_at::DATE AS day, count(*) FROM messages GROUP BY day ORDER BY day")
    assert days == [(SECOND, len(a_day())), (TODAY, 2 * len(a_day())), (date(2026, 12, 13), len(a_day()))]
    assert ask(database, "SELECT DISTINCT day FROM archive_file WHERE state = 'archived'") == [(SECOND,)]


def test_schedule_warns_of_a_failed_run(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.retention.maintenance._CHECK_S", 0.01)
    warnings = service_run(database, tmp_path / "missing.conf", lambda: True)
    assert str(warnings[0]).startswith("the archive is not up to date: the retention policy")


def test_schedule_warns_of_a_full_disk(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.retention.maintenance._CHECK_S", 0.01)
    policy = tmp_path / "retention.conf"
    policy.write_text("floor 999999TB\n# forever\n")
    assert "below the floor" in str(service_run(database, policy, lambda: True)[0])
