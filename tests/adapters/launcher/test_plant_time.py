"""Plant time from run to run."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.launcher import plant_time
from broker.mqtt.packets import Delivery, pack_user_properties
from broker.runtime.clock import PlantClock
from broker.runtime.settings import Settings
from broker.stamp import rfc3339
from storage.database.batch import TimedDelivery, arrow_table
from storage.database.database import Database
from storage.schema.typed_streams import StreamCodes
from tests.real_broker import free_ports

START_AT = datetime(2026, 1, 31, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def site(tmp_path: Path) -> Settings:
    """Settings of a system of its own, also where another one runs on this machine."""
    return Settings.load({"SCAUP_DATA_DIR": str(tmp_path), "SCAUP_MQTT_PORT": str(free_ports(1)[0])})


def plant_at(epoch: datetime, scale: float, wall_at: datetime) -> datetime:
    return epoch + (wall_at - epoch) * scale


def test_first_run_begins_at_wall_time(site: Settings) -> None:
    assert plant_time.begin(site, 60, START_AT) == START_AT


@pytest.mark.parametrize("pause", [timedelta(0), HOUR, 59 * HOUR])
def test_run_continues_after_the_one_before(site: Settings, pause: timedelta) -> None:
    plant_time.begin(site, 60, START_AT)
    plant_time.end(site, START_AT + HOUR, stopped=True)
    next_at = START_AT + HOUR + pause
    epoch = plant_time.begin(site, 60, next_at)
    assert plant_at(epoch, 60, next_at) - (START_AT + 60 * HOUR) == pytest.approx(timedelta(0), abs=timedelta(milliseconds=1))


def test_run_after_a_long_pause_begins_at_wall_time(site: Settings) -> None:
    plant_time.begin(site, 60, START_AT)
    plant_time.end(site, START_AT + HOUR, stopped=True)
    assert plant_time.begin(site, 60, START_AT + 61 * HOUR) == START_AT + 61 * HOUR


@given(st.lists(st.tuples(st.sampled_from([0.5, 2, 60, 100_000]), st.integers(1, 3_600), st.integers(0, 3_600)), min_size=2))
def test_plant_time_never_runs_backwards(runs: list[tuple[float, int, int]]) -> None:
    last_at = wall_at = START_AT
    for scale, ran_s, paused_s in runs:
        epoch = plant_time.epoch_after(last_at, wall_at, scale)
        assert plant_at(epoch, scale, wall_at) >= last_at - timedelta(seconds=1)
        wall_at += timedelta(seconds=ran_s)
        ended_at = plant_at(epoch, scale, wall_at)
        if ended_at.year > 8_000:
            return
        last_at = max(last_at, ended_at)
        wall_at += timedelta(seconds=paused_s)


def test_run_at_wall_time_keeps_what_was_reached(site: Settings) -> None:
    """At scale 1 plant time is wall time; the next scaled run still continues after the last scaled one."""
    plant_time.begin(site, 60, START_AT)
    plant_time.end(site, START_AT + HOUR, stopped=True)
    assert plant_time.begin(site, 1, START_AT + HOUR) == START_AT + HOUR
    assert plant_time.ahead_at(site, START_AT + HOUR) == START_AT + 60 * HOUR
    plant_time.end(site, START_AT + 2 * HOUR, stopped=True)
    epoch = plant_time.begin(site, 10, START_AT + 2 * HOUR)
    assert plant_time.ahead_at(site, START_AT + 2 * HOUR) is None
    assert abs(plant_at(epoch, 10, START_AT + 2 * HOUR) - (START_AT + 60 * HOUR)) < timedelta(milliseconds=1)


def written(site: Settings, at: datetime) -> None:
    site.database.touch()
    os.utime(site.database, (at.timestamp(), at.timestamp()))


@pytest.mark.parametrize("down", [False, True])
def test_crashed_run_lasted_until_its_last_write(site: Settings, down: bool) -> None:
    plant_time.begin(site, 60, START_AT)
    written(site, START_AT + HOUR)
    if down:  # there was nothing left to stop
        plant_time.end(site, START_AT + 2 * HOUR, stopped=False)
    next_at = START_AT + 3 * HOUR
    epoch = plant_time.begin(site, 60, next_at)
    beyond = plant_at(epoch, 60, next_at) - (START_AT + 60 * HOUR)
    assert timedelta(0) <= beyond <= timedelta(minutes=2)


@pytest.mark.parametrize("written_at", [None, START_AT - HOUR, START_AT + 9 * HOUR])
def test_crashed_run_that_left_no_file_lasted_until_now(site: Settings, written_at: datetime | None) -> None:
    """In containers the files are on a volume; those of an older run, or of another clock, say nothing."""
    plant_time.begin(site, 60, START_AT)
    if written_at is not None:
        written(site, written_at)
    next_at = START_AT + 2 * HOUR
    epoch = plant_time.begin(site, 60, next_at)
    assert abs(plant_at(epoch, 60, next_at) - (START_AT + 120 * HOUR)) < timedelta(milliseconds=1)


def test_database_without_a_record_is_continued(site: Settings) -> None:
    """Earlier releases left none. Only simulated plants count: the others follow the wall clock."""
    database = Database(site.database, 256, 1)
    batch = []
    for number, (source, reached) in enumerate(
        {"sim-rooms": 60 * HOUR, "heating": 61 * HOUR, "sim-ships": 59 * HOUR}.items(), 1
    ):
        stamp = (("source", source), ("boot", "b"), ("seq", "1"), ("plant-time", rfc3339(START_AT + reached)))
        delivery = Delivery("t", b"1", 1, False, False, number, pack_user_properties(stamp)[1:])
        batch.append(TimedDelivery(1_800_000_000_000_000 + number, delivery))
    database.commit(arrow_table(batch, 1, StreamCodes()))
    database.close()
    epoch = plant_time.begin(site, 60, START_AT)
    assert abs(plant_at(epoch, 60, START_AT) - (START_AT + 60 * HOUR)) < timedelta(milliseconds=1)


def test_unreadable_database_is_no_obstacle(site: Settings) -> None:
    site.database.write_bytes(b"not a database")
    assert plant_time.begin(site, 60, START_AT) == START_AT


def test_given_epoch_is_taken(site: Settings) -> None:
    assert plant_time.begin(site, 60, START_AT, START_AT - HOUR) == START_AT - HOUR
    plant_time.end(site, START_AT, stopped=True)
    assert plant_time.begin(site, 60, START_AT) == START_AT - HOUR


@pytest.mark.parametrize("content", [b"", b"{", b'{"scale":"x"}'])
def test_unreadable_record_is_no_obstacle(site: Settings, content: bytes) -> None:
    (site.data_dir / "plant-time.json").write_bytes(content)
    plant_time.end(site, START_AT, stopped=True)
    assert plant_time.begin(site, 60, START_AT) == START_AT


def test_clock_of_a_component_continues(site: Settings) -> None:
    now_at = datetime.now(UTC)
    plant_time.begin(site, 60, now_at - HOUR)
    plant_time.end(site, now_at, stopped=True)
    clock = PlantClock(60, plant_time.begin(site, 60, now_at))
    assert timedelta(0) <= clock.at() - (now_at + 59 * HOUR) < timedelta(minutes=5)
