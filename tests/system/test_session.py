"""The recording session in this process, so that a test can interrupt it between commit and acknowledgement."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import gmqtt
import paho.mqtt.client as paho
import pyarrow as pa
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from broker.mqtt.connection import Connection, ConnectionListener
from broker.mqtt.options import Options
from broker.runtime.settings import Settings
from storage.clock import WallClock
from storage.database.database import CommitResult, Database
from storage.errors import NoSpace, StorageError
from storage.ingest.session import RecordingSession, session_options
from storage.ingest.stats import Stats
from tests.real_broker import RealBroker

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]
COUNT = 300
TIMEOUT_S = 60


class Recording:
    """One run of the recording session. Leaving it without `finish` looks like a crash to the broker."""

    def __init__(self, settings: Settings, database: Database, clock: WallClock | None = None) -> None:
        self.stats = Stats()
        address, options = settings.broker_address("recorder"), session_options("s")
        self.session = RecordingSession(
            address, options, database, self.stats, lambda batch, drifts: None, clock or WallClock()
        )
        self._ready = asyncio.Event()

    async def __aenter__(self) -> "Recording":
        self._task = asyncio.create_task(self.session.run(lambda working: self._ready.set() if working else None))
        await asyncio.wait_for(self._ready.wait(), TIMEOUT_S)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.01)


def publish_now(settings: Settings, count: int, qos: int, size: int = 0) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect(settings.mqtt_host, settings.mqtt_port)
    client.loop_start()
    for sent in [
        client.publish("/readings/session/temperature", f"constant {n % 3}" + "x" * size, qos=qos) for n in range(count)
    ]:
        sent.wait_for_publish(TIMEOUT_S)
    client.disconnect()
    client.loop_stop()


async def publish(settings: Settings, count: int, qos: int = 1) -> None:
    await asyncio.to_thread(publish_now, settings, count, qos)


def is_queued(session: RecordingSession, count: int) -> bool:
    return session.queued >= count


def recorded(database: Database) -> int:
    with database.cursor() as cursor:
        row = cursor.execute("SELECT count(*) FROM messages WHERE topic LIKE '/readings/%'").fetchone()
    assert row
    return int(row[0])


@pytest.mark.parametrize("qos", [1, 2])
def test_committed_but_unacknowledged_is_not_doubled(own_broker: RealBroker, tmp_path: Path, qos: int) -> None:
    async def scenario() -> None:
        database = Database(tmp_path / "session.duckdb", 256, 1)
        async with Recording(own_broker.settings, database) as crashing:
            crashing.session.connection.acknowledge = lambda deliveries: 0  # type: ignore[method-assign]
            await publish(own_broker.settings, COUNT, qos)
            await until(lambda: crashing.stats.committed >= COUNT)
        assert recorded(database) == COUNT
        async with Recording(own_broker.settings, database) as second:
            await until(lambda: second.stats.duplicates >= COUNT)
            await publish(own_broker.settings, COUNT, qos)
            await until(lambda: recorded(database) >= 2 * COUNT)
        assert recorded(database) == 2 * COUNT
        assert second.stats.duplicates >= COUNT
        database.close()

    asyncio.run(scenario())


def test_a_durable_commit_that_failed_is_not_repeated(
    own_broker: RealBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        database = Database(tmp_path / "late.duckdb", 256, 1)
        async with Recording(own_broker.settings, database) as recording:
            await until(lambda: recording.session.queued == 0)
            commit, failures = database.commit, [True, True]

            def fail_afterwards(table: pa.Table) -> CommitResult:
                stored = commit(table)
                if failures:
                    failures.pop()
                    raise StorageError("the disk failed after the commit")
                return stored

            monkeypatch.setattr(database, "commit", fail_afterwards)
            await publish(own_broker.settings, COUNT)
            await until(lambda: recording.stats.committed >= COUNT)
            assert not failures
            assert recorded(database) == COUNT
        database.close()

    asyncio.run(scenario())


def test_commit_that_fails_while_the_clock_steps_back(
    own_broker: RealBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages during and after a jump are in one batch; the first attempt to commit it makes most of it durable."""
    ahead_us = 0

    async def scenario() -> None:
        nonlocal ahead_us
        database = Database(tmp_path / "jump.duckdb", 256, 1)
        clock = WallClock(lambda: time.time_ns() // 1000 + ahead_us, time.monotonic)
        async with Recording(own_broker.settings, database, clock) as recording:
            await until(lambda: recording.session.queued == 0)
            commit, full, failures = database.commit, [True], [True]

            def fail_in_the_middle(table: pa.Table) -> CommitResult:
                if full:
                    raise NoSpace("no room")
                if failures and table.num_rows > COUNT:
                    failures.pop()
                    commit(table.slice(0, table.num_rows * 3 // 4))
                    raise StorageError("the disk failed in the middle")
                return commit(table)

            monkeypatch.setattr(database, "commit", fail_in_the_middle)
            for published, step_us in enumerate((0, 40 * 86_400_000_000, -40 * 86_400_000_000), 1):
                ahead_us += step_us
                await publish(own_broker.settings, COUNT)
                await until(partial(is_queued, recording.session, published * COUNT))
            full.clear()
            await until(lambda: recording.stats.committed >= 3 * COUNT)
            assert not failures
            assert recording.stats.duplicates == 0
            assert clock.warning is not None
        assert recorded(database) == 3 * COUNT
        with database.cursor() as cursor:
            steps = cursor.execute(
                "SELECT count(*) FILTER (came < before), count(*) FILTER (came > before + INTERVAL 1 DAY), "
                "count(DISTINCT came) FROM "
                "(SELECT received_at AS came, lag(received_at) OVER (ORDER BY number) AS before FROM messages)"
            ).fetchall()
        assert steps == [(1, 1, 3 * COUNT)]
        database.close()

    asyncio.run(scenario())


def test_large_messages_are_committed_in_small_batches(own_broker: RealBroker, tmp_path: Path) -> None:
    async def scenario() -> None:
        database = Database(tmp_path / "large.duckdb", 512, 1)
        async with Recording(own_broker.settings, database) as recording:
            await until(lambda: recording.session.queued == 0)
            await asyncio.to_thread(publish_now, own_broker.settings, 150, 1, 1_000_000)
            await until(lambda: recording.stats.committed >= 150)
        assert recorded(database) == 150
        database.close()

    asyncio.run(scenario())


def test_a_full_disk_delays_acknowledgements(own_broker: RealBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        database = Database(tmp_path / "full.duckdb", 256, 1)
        async with Recording(own_broker.settings, database) as recording:
            await until(lambda: recording.session.queued == 0)
            commit = database.commit

            def no_space(table: object) -> int:
                raise NoSpace("only 0 MiB of disk are free: make room")

            monkeypatch.setattr(database, "commit", no_space)
            acknowledged = recording.stats.acknowledged
            await publish(own_broker.settings, COUNT)
            await until(lambda: recording.stats.last_error is not None)
            assert recording.stats.acknowledged == acknowledged
            monkeypatch.setattr(database, "commit", commit)
            await until(lambda: recorded(database) == COUNT)
            await until(lambda: recording.stats.last_error is None)  # cleared when the writer thread reports to the loop
        database.close()

    asyncio.run(scenario())


def test_retained_messages_are_recorded_once(own_broker: RealBroker, tmp_path: Path) -> None:
    async def retained(settings: Settings) -> None:
        connection = Connection(settings.broker_address("operator"), Options(client_id="operator"), ConnectionListener())
        task = asyncio.create_task(connection.run())
        connection.publish(gmqtt.Message("heating/kept/setpoint", '{"celsius":21}', qos=1, retain=True))
        assert await connection.flush(TIMEOUT_S)
        await connection.disconnect()
        await task

    async def scenario() -> None:
        database = Database(tmp_path / "retained.duckdb", 256, 1)
        await retained(own_broker.settings)
        for _ in range(3):
            async with Recording(own_broker.settings, database) as recording:
                await publish(own_broker.settings, 1)
                await until(lambda: recording.stats.committed >= 1 and recording.session.queued == 0)
        with database.cursor() as cursor:
            rows = cursor.execute("SELECT retain FROM messages WHERE topic = 'heating/kept/setpoint'").fetchall()
        assert rows == [(True,)]
        database.close()

    asyncio.run(scenario())
