"""Small databases as the recorder creates them: one that stays open and can be changed, and one that is saved to a file."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from broker.mqtt.packets import Delivery, pack_user_properties
from broker.runtime.settings import Settings
from storage.database.batch import TimedDelivery, arrow_table
from storage.database.database import Database
from storage.schema.typed_streams import StreamCodes
from tests.adapters.client.fakes import START_AT, Answer, FakeBus, FakeRecorder, FakeSession, recording_bus
from tests.databases import open_database

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
        user = () if stamp is None else tuple(zip(("source", "boot", "seq"), map(str, stamp), strict=True))
        fields = {"retain": False, "dup": False, "packet_id": self._count, **more}
        content = payload if isinstance(payload, bytes) else payload.encode()
        delivery = Delivery(topic, content, 1, properties=pack_user_properties(user)[1:], **fields)
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


class SavedRecording:
    """Messages to be written to `scaup.duckdb` in a folder: one a second, unless `at` is given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._received: list[TimedDelivery] = []

    def add(self, topic: str, payload: bytes, at: datetime | None = None, qos: int = 1, **stamp: str) -> None:
        """Record one message."""
        number = len(self._received) + 1
        received_at = at or START_AT + timedelta(seconds=number)
        properties = pack_user_properties(tuple((name.replace("_", "-"), value) for name, value in stamp.items()))[1:]
        delivery = Delivery(topic, payload, qos, False, False, number % 65_535 if qos else 0, properties)
        self._received.append(TimedDelivery(round(received_at.timestamp() * 1e6), delivery))

    def save(self) -> None:
        """Write the file."""
        database = open_database(self.folder / "scaup.duckdb")
        if self._received:
            database.commit(arrow_table(self._received, 1, StreamCodes()))
        database.close()

    def session(self, bus: FakeBus | None = None) -> FakeSession:
        """Return a session without a recorder: the file answers."""
        self.save()
        return FakeSession(bus, Settings.load({"SCAUP_DATA_DIR": str(self.folder)}))

    def recorder(self) -> FakeBus:
        """Return a bus on which a recorder answers from these messages."""
        self.save()
        bus = recording_bus(rows_per_part=100)
        assert isinstance(bus.recorder, FakeRecorder)
        bus.recorder.database = _Copy(self.folder / "scaup.duckdb").connection
        bus.recorder.record = lambda *arguments, **named: None  # type: ignore[method-assign]
        return bus


class _Copy:
    """The views of a database file as tables in memory."""

    def __init__(self, path: Path) -> None:
        self.connection = duckdb.connect()
        self.connection.execute("SET TimeZone = 'UTC'")
        with duckdb.connect(str(path), read_only=True) as file:
            file.execute("SET TimeZone = 'UTC'")
            for name in ("messages", "room_temperature", "message_mean"):
                table: pa.Table = file.sql(f"SELECT * FROM {name}").to_arrow_table()
                self.connection.register("copied", table)
                self.connection.execute(f"CREATE TABLE {name} AS SELECT * FROM copied")
                self.connection.unregister("copied")
