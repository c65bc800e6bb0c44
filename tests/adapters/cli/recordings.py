"""Recordings for commands that read many messages: a database file of the recorder, and a recorder that answers from one."""

from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from broker.mqtt.packets import Delivery, pack_user_properties
from broker.runtime.settings import Settings
from storage.database.batch import TimedDelivery, arrow_table
from storage.schema.typed_streams import StreamCodes
from tests.adapters.client.fakes import START_AT, FakeBus, FakeRecorder, FakeSession, recording_bus
from tests.databases import open_database


class Recording:
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
