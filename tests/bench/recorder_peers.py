"""Other recorders to compare with: paho-mqtt, a transaction per batch, acknowledged after the commit; SQLite or DuckDB."""

import json
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

CLIENT_ID = "bench"
SESSION_EXPIRY_S = 3600
_LARGEST_BATCH = 10_000
_RECEIVE_MAXIMUM = 10_000

Row = tuple[float, str, str, int, bool, int]
Typed = tuple[float, str, str, float]
Store = Callable[[list[Row], list[Typed]], None]

_RAW = (
    "CREATE TABLE messages (received_at DOUBLE, topic VARCHAR, payload VARCHAR, qos INTEGER, retain BOOLEAN, packet_id INTEGER)"
)
_TYPED = "CREATE TABLE room_temperature (received_at DOUBLE, room VARCHAR, sensor VARCHAR, celsius DOUBLE)"
_INSERT_RAW = "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?)"
_INSERT_TYPED = "INSERT INTO room_temperature VALUES (?, ?, ?, ?)"


def into_sqlite(host: str, port: int, count: int, folder: Path) -> float:
    """Record `count` messages, and return when the last one was acknowledged, in seconds of the monotonic clock."""
    connection = sqlite3.connect(folder / "peer.sqlite")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(_RAW)
    connection.execute(_TYPED)

    def store(rows: list[Row], typed: list[Typed]) -> None:
        with connection:
            connection.executemany(_INSERT_RAW, rows)
            connection.executemany(_INSERT_TYPED, typed)

    return _Recording(store).run(host, port, count)


def into_duckdb(host: str, port: int, count: int, folder: Path) -> float:
    """Record `count` messages, and return when the last one was acknowledged, in seconds of the monotonic clock."""
    connection = duckdb.connect(str(folder / "peer.duckdb"))
    connection.execute(_RAW)
    connection.execute(_TYPED)

    def store(rows: list[Row], typed: list[Typed]) -> None:
        connection.begin()
        connection.executemany(_INSERT_RAW, rows)
        connection.executemany(_INSERT_TYPED, typed)
        connection.commit()

    return _Recording(store).run(host, port, count)


class _Recording:
    """paho's thread receives, this one stores and acknowledges."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pending: list[tuple[float, paho.MQTTMessage]] = []
        self._lock = threading.Lock()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, CLIENT_ID, protocol=paho.MQTTv5, manual_ack=True)
        self._client.on_message = self._on_message

    def run(self, host: str, port: int, count: int) -> float:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval, properties.ReceiveMaximum = SESSION_EXPIRY_S, _RECEIVE_MAXIMUM
        self._client.connect(host, port, clean_start=False, properties=properties)
        self._client.loop_start()
        stored = 0
        while stored < count:
            stored += self._store_batch()
        while self._client.want_write():
            time.sleep(0.001)
        ended_s = time.monotonic()
        self._client.disconnect()
        self._client.loop_stop()
        return ended_s

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        with self._lock:
            self._pending.append((time.time(), message))

    def _store_batch(self) -> int:
        with self._lock:
            batch, self._pending = self._pending[:_LARGEST_BATCH], self._pending[_LARGEST_BATCH:]
        if not batch:
            time.sleep(0.001)
            return 0
        rows = [(at, each.topic, each.payload.decode(), each.qos, each.retain, each.mid) for at, each in batch]
        self._store(rows, [_typed(at, topic, payload) for at, topic, payload, *_ in rows])
        for _, message in batch:
            self._client.ack(message.mid, message.qos)
        return len(batch)


def _typed(at: float, topic: str, payload: str) -> Typed:
    reading = json.loads(payload)
    return at, topic.split("/")[2], reading["sensorID"], float(reading["value"])
