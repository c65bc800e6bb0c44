import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.mqtt.packets import Delivery
from storage.database.batch import TimedDelivery, arrow_table
from storage.database.database import Database
from storage.schema.typed_streams import StreamCodes
from storage.schema.views import tables
from tests.databases import open_database

Deliver = Callable[..., TimedDelivery]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path / "scaup.duckdb")
    yield opened
    opened.close()


@pytest.fixture
def deliver() -> Deliver:
    """Make deliveries that arrive a microsecond apart, with packet identifiers 1, 2, 3…"""
    count = 0

    def make(topic: str, payload: bytes, qos: int = 1, **changes: object) -> TimedDelivery:
        nonlocal count
        count += 1
        fields: dict[str, object] = {"retain": False, "dup": False, "packet_id": count if qos else 0, "properties": b""}
        return TimedDelivery(1_800_000_000_000_000 + count, Delivery(topic, payload, qos, **{**fields, **changes}))  # type: ignore[arg-type]

    return make


class Past:
    """Records messages as if they had arrived on other days."""

    def __init__(self, database: Database) -> None:
        self.database, self._codes = database, StreamCodes()

    def record(
        self, day: date, messages: Iterable[tuple[str, bytes]], hour: float = 0, properties: bytes = b"", retain: bool = False
    ) -> None:
        """Commit messages that arrive 10 s apart, from an hour of a day on, each with its number added as microseconds."""
        start = datetime.combine(day, time(), UTC) + timedelta(hours=hour)
        first = self.database.last_number + 1
        batch = [
            TimedDelivery(
                int((start + timedelta(seconds=10 * n)).timestamp()) * 1_000_000 + first + n,
                Delivery(topic, payload, 1, retain, False, (first + n) % 65_535 + 1, properties),
            )
            for n, (topic, payload) in enumerate(messages)
        ]
        self.database.commit(arrow_table(batch, 1, self._codes))


def ask(database: Database, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with database.cursor() as cursor:
        return cursor.execute(sql).fetchall()


def content(database: Database) -> dict[str, tuple[int, int]]:
    """Return count and checksum of every view that has an archive."""
    with database.cursor() as cursor:
        names = sorted(tables(cursor))
    sql = "SELECT count(*), coalesce(sum(hash(content)), 0) FROM {} AS content"
    return {name: ask(database, sql.format(name))[0] for name in names}


def direct(work: Callable[[], Any]) -> Any:
    """Write in the calling thread."""
    return work()


def silent(what: str, done: int, of: int) -> None:
    """Ignore progress."""


def a_day(readings: int = 10) -> list[tuple[str, bytes]]:
    """Return messages of every kind: typed, rejected, not UTF-8, untyped."""
    room = b'{"sensorID":"s-%d","type":"temperature","value":%d.5}'
    found = [(f"/readings/room-{n % 3}/temperature", room % (n % 2, n)) for n in range(readings)]
    found += [("/actuators/room-1", b'{"level":%d}' % n) for n in range(3)]
    found += [("components/heating/state", b'{"state":"online","boot":"b","version":"1"}')]
    found += [
        ("/readings/room-1/temperature", b"garbage"),
        ("/readings/room-2/temperature", b"\xff\xfe"),
        ("noise/a", b"\x00\xff"),
    ]
    return [*found, ("noise/b", b"21.5"), ("other", b""), ("other", '{"größe":"é€\\u0000","n":[1,{"a":2}]}'.encode())]


@pytest.fixture
def past(database: Database) -> Past:
    return Past(database)


@pytest.fixture
def writer() -> Iterator[ThreadPoolExecutor]:
    """A thread that writes, as the recorder's does."""
    with ThreadPoolExecutor(1, "writer") as pool:
        yield pool


class Recording:
    """Records one message after another in the writer's thread until the block is left; `count` of them are durable."""

    def __init__(self, past: Past, writer: ThreadPoolExecutor, day: date) -> None:
        self._past, self._writer, self._day = past, writer, day
        self._ended, self.count = threading.Event(), 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Recording":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            message = ("/readings/room-9/temperature", b'{"sensorID":"s","type":"temperature","value":%d}' % self.count)
            self._writer.submit(self._past.record, self._day, [message], 20).result()
            self.count += 1
