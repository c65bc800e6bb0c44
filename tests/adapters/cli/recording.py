"""A small database as the recorder creates it, for tests that read whole databases."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from broker.mqtt.packets import Delivery
from broker.runtime.settings import Settings
from storage.database.batch import TimedDelivery, arrow_table
from storage.database.database import Database
from storage.schema.typed_streams import StreamCodes
from tests.adapters.client.fakes import Answer, FakeBus, FakeRecorder, FakeSession
from tests.databases import open_database

START_AT = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
READING = "/readings/room-1/temperature"
OTHER = "other/1"
"""A topic whose messages have no typed table."""


class Recording:
    """A database below `folder`; messages arrive a second apart."""

    def __init__(self, folder: Path, count: int = 0) -> None:
        """Open `folder/scaup.duckdb` with its `count` messages, or create it."""
        self.folder = folder
        self._database = open_database(folder / "scaup.duckdb")
        self._pending: list[TimedDelivery] = []
        self._count = count

    @property
    def database(self) -> Database:
        """The database, with all messages recorded so far."""
        if self._pending:
            self._database.commit(arrow_table(self._pending, 1, StreamCodes()))
            self._pending = []
        return self._database

    def record(self, topic: str, payload: str | bytes = "{}", stamp: tuple[str, str, int] | None = None, **more: Any) -> None:
        """Record one message; `stamp` is source, boot and seq, `at_s` the second of its arrival."""
        self._count += 1
        at_s = more.pop("at_s", self._count)
        user = () if stamp is None else zip(("source", "boot", "seq"), map(str, stamp), strict=True)
        fields = {"retain": False, "dup": False, "packet_id": self._count, **more}
        content = payload if isinstance(payload, bytes) else payload.encode()
        delivery = Delivery(topic, content, 1, properties=b"".join(_property(*pair) for pair in user), **fields)
        at_us = round((START_AT + timedelta(seconds=at_s)).timestamp() * 1e6)
        self._pending.append(TimedDelivery(at_us, delivery))

    def publish(self, source: str, *seqs: int, boot: str = "b1", topic: str = OTHER, **more: Any) -> None:
        """Record messages of one of our publishers."""
        for seq in seqs:
            self.record(topic, stamp=(source, boot, seq), **more)

    def read(self, *values: Any, sensor: str = "sensor-1", topic: str = READING) -> None:
        """Record readings of a device, which are not stamped."""
        for value in values:
            self.record(topic, json.dumps({"sensorID": sensor, "type": "temperature", "value": value}))

    def expire(self, day: date, source: str | None, boot: str | None, *numbers: int) -> None:
        """Remove messages as the retention policy does."""
        counted = "INSERT INTO expired_message VALUES (?, ?, ?, ?, now())"
        self.change(f"DELETE FROM live.messages WHERE number IN {(*numbers, 0)}")
        with self.database.cursor() as cursor:
            cursor.execute(counted, [day, source, boot, len(numbers)])

    def note_archived(self, day: date, rows: int, last_number: int) -> None:
        """List a file of the archive with messages from the first one on; the file itself is not created."""
        self.change(
            f"""INSERT INTO archive_file BY NAME SELECT 'day={day}/messages.parquet' AS path, DATE '{day}' AS day,
                'messages' AS name, 'archived' AS state, {rows} AS rows, 1 AS first_number, {last_number} AS last_number,
                []::VARCHAR[] AS columns, now() AS archived_at"""
        )

    def change(self, *statements: str) -> None:
        """Change the database by hand."""
        with self.database.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def double(self, table: str, number: int) -> None:
        """Write a row a second time, by hand."""
        self.change(f"INSERT INTO live.{table} SELECT * FROM live.{table} WHERE number = {number} LIMIT 1")

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.database.cursor() as cursor:
            return cursor.execute(sql).fetchall()

    @contextmanager
    def closed(self) -> Iterator[FakeSession]:
        """Close the database and return a session that opens it, without a broker."""
        self.database.close()
        yield FakeSession(None, Settings.load({"SCAUP_DATA_DIR": str(self.folder)}))

    def online(self) -> FakeSession:
        """Return a session in which a recorder answers from this database, and keeps recording."""
        bus = FakeBus(_Recorder(self))
        bus.retain("components/recorder/state", '{"state":"online","boot":"b1","version":"0.1.0"}')
        return FakeSession(bus)


class _Recorder(FakeRecorder):
    """Records every query like any message, and answers from the views of a recording."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(rows_per_part=100)
        self._recording = recording
        connection = recording.database._connection
        assert isinstance(connection, duckdb.DuckDBPyConnection)
        self.database = connection.cursor()

    def answer(self, payload: bytes) -> Answer:
        assert self._recording.database
        return super().answer(payload)

    def record(self, topic: str, payload: str | bytes, *_: Any, **__: Any) -> None:
        self._count += 1
        self._recording.record(topic, payload, ("operator", "cli", self._count))


def _property(name: str, value: str) -> bytes:
    parts = name.encode(), value.encode()
    return b"\x26" + b"".join(len(part).to_bytes(2) + part for part in parts)
