"""The look at the recording: its SQL on a real database."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.web.watch import Recorded
from broker.contract.storage import questions
from broker.mqtt.packets import Delivery, pack_user_properties
from broker.stamp import HISTORY, Stamp
from storage.database.batch import TimedDelivery, arrow_table
from storage.database.database import Database
from storage.schema.typed_streams import StreamCodes
from tests.adapters.web.test_overview import samples
from tests.databases import open_database

BOOT = f"{2**43:012x}aaaaaaaa"
READING = b'{"id":1,"name":"n","description":"d","temperature":20.5,"fan_speed":900.5,"status":"%s"}'


class Recording:
    """A database into which messages are written, and what the looks at it found."""

    def __init__(self, database: Database) -> None:
        self._database, self._codes, self._count = database, StreamCodes(), 0
        self.seen = Recorded(0, after=0)

    def write(self, topic: str, seq: int, source: str = "heating", boot: str = BOOT, payload: bytes = b"{}") -> None:
        self._count += 1
        at_us = int((datetime.now(UTC) - timedelta(seconds=5)).timestamp() * 1e6) + self._count
        properties = pack_user_properties(Stamp(source, boot, seq).user_properties())[1:]  # without its length
        delivery = Delivery(topic, payload, 1, False, False, self._count, properties)
        self._database.commit(arrow_table([TimedDelivery(at_us, delivery)], 1, self._codes))

    def look(self) -> int:
        statement = questions.since(self.seen.after or 0)
        with self._database.cursor() as cursor:
            result = cursor.execute(statement.sql, statement.parameters)
            names = [each[0] for each in result.description or ()]
            self.seen.add([dict(zip(names, row, strict=True)) for row in result.fetchall()])
        return self.seen.gaps


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    database = open_database(tmp_path / "scaup.duckdb")
    yield Recording(database)
    database.close()


def test_a_lost_message_is_found_by_the_second_look(recording: Recording) -> None:
    for seq in (1, 2, 5):
        recording.write("heating/room-1/state", seq)
    assert recording.look() == 0
    recording.write("heating/room-1/state", 6)
    assert recording.look() == 2
    assert recording.look() == 2


def test_devices_can_fill_holes_but_not_make_them(recording: Recording) -> None:
    recording.write("heating/room-1/state", 1)
    recording.write("/readings/room-1/temperature", 2)
    recording.write("heating/room-1/state", 3)
    recording.write("/readings/room-1/temperature", 1_000_000)
    recording.write("machines/1/reading", 9, source="charging")
    recording.write("heating/room-1/state", 7, boot=HISTORY + BOOT)
    for _ in range(3):
        assert recording.look() == 0


def test_messages_readings_and_machines_are_counted(recording: Recording) -> None:
    recording.write("/readings/room-1/temperature", 1)
    recording.write("/actuators/room-1", 2)
    for seq, (machine, status) in enumerate(((1, b"IDLE"), (1, b"ERROR"), (2, b"IDLE"))):
        recording.write(f"machines/{machine}/reading", seq + 1, "sim-machines", payload=READING % status)
    recording.look()
    found = samples([*recording.seen.metrics()])
    assert found["scaup_system_messages_total", "heating"] == 2
    assert found["scaup_system_readings_total", "heating"] == 1
    assert found["scaup_system_messages_total", "machines"] == 3
    assert (found["scaup_machines", "ERROR"], found["scaup_machines", "IDLE"]) == (1, 1)
    recording.look()
    assert samples([*recording.seen.metrics()])["scaup_system_messages_total", "machines"] == 3


def test_where_to_begin_is_the_newest_message(recording: Recording, tmp_path: Path) -> None:
    assert newest(recording) == [(None,)]
    recording.write("t", 1)
    recording.write("t", 2)
    assert newest(recording) == [(2,)]


def newest(recording: Recording) -> list[tuple[object, ...]]:
    with recording._database.cursor() as cursor:
        return cursor.execute(questions.newest().sql).fetchall()
