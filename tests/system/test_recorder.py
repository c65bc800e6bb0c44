"""The recorder against a real broker: exactly once, also when it is killed."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker.runtime.settings import read_password
from tests.real_broker import RealBroker

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


@pytest.fixture
def recorder(own_broker: RealBroker) -> "Iterator[RecorderProcess]":
    process = RecorderProcess(own_broker)
    process.start()
    process.wait_until_online()
    yield process
    process.stop()


class RecorderProcess:
    def __init__(self, broker: RealBroker) -> None:
        self.broker = broker
        self.running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.broker.data_dir / "recorder.log").open("ab") as log:
            self.running = subprocess.Popen([sys.executable, "-m", "storage"], env=self.broker.environment, stderr=log)

    def wait_until_online(self) -> None:
        online = threading.Event()
        with connected_to(self.broker) as client:
            client.on_message = lambda _c, _d, message: online.set() if b'"online"' in message.payload else None
            client.subscribe("components/recorder/state", qos=1)
            assert online.wait(20), "the recorder did not come online"

    def kill(self) -> None:
        assert self.running
        self.running.kill()
        self.running.wait(10)

    def stop(self) -> int:
        assert self.running
        self.running.terminate()
        return self.running.wait(20)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Read the file of a recorder that is stopped."""
        with duckdb.connect(str(self.broker.settings.database), read_only=True) as connection:
            return connection.execute(sql).fetchall()


@contextmanager
def connected_to(broker: RealBroker, account: str | None = None) -> Iterator[paho.Client]:
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    if account:
        client.username_pw_set(account, read_password(broker.data_dir, account))
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    client.connect(broker.host, broker.port)
    client.loop_start()
    assert connected.wait(10)
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def publish(client: paho.Client, topic: str, payload: str | bytes, qos: int = 1) -> None:
    client.publish(topic, payload, qos=qos).wait_for_publish(30)


def until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "timed out"
        time.sleep(0.02)


class QueryClient:
    """A client of the query protocol, independent of the recorder's code."""

    def __init__(self, client: paho.Client) -> None:
        self._client = client
        self._topic = "storage/answer/query-client"
        self._messages: list[paho.MQTTMessage] = []
        self._final = threading.Event()
        subscribed = threading.Event()
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = self._on_message
        client.subscribe(self._topic, qos=1)
        assert subscribed.wait(10)

    def __call__(self, sql: str, **request: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        self._messages.clear()
        self._final.clear()
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic, properties.CorrelationData = self._topic, b"id-1"
        self._client.publish("storage/query", json.dumps({"sql": sql, **request}), qos=1, properties=properties)
        assert self._final.wait(20), f"no final message after {len(self._messages)} others"
        assert all(getattr(message.properties, "CorrelationData", None) == b"id-1" for message in self._messages)
        *chunks, end = [json.loads(message.payload) for message in self._messages]
        return [row for chunk in chunks for row in chunk], end

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        self._messages.append(message)
        if ("final", "true") in getattr(message.properties, "UserProperty", []):
            self._final.set()


def test_records_everything_and_answers_while_recording(recorder: RecorderProcess) -> None:
    with connected_to(recorder.broker, "operator") as client, connected_to(recorder.broker) as device:
        query = QueryClient(client)
        bad = [b"garbage", b"\xff\xfe", b"x" * 1_000_000, b"", b"[" * 10_000, b'{"sensorID":"s","value":NaN}']
        publish(device, "/readings/room-1/temperature", b'{"sensorID":"s","type":"temperature","value":21.5}')
        for payload in bad:
            publish(device, "/readings/room-1/temperature", payload)
        rows, end = query("SELECT room, sensor, celsius FROM room_temperature")
        assert rows == [{"room": "room-1", "sensor": "s", "celsius": 21.5}]
        assert end["rows"] == 1
        rows, _ = query(
            "SELECT count(*) AS n, max(octet_length(coalesce(payload_raw, encode(payload)))) AS largest FROM rejected_message"
        )
        assert rows == [{"n": len(bad), "largest": 1_000_000}]
        assert query("DELETE FROM messages")[1]["error"]["kind"] == "refused"
        assert query("SELECT nope FROM messages")[1]["error"]["position"] == 7
        many, end = query("SELECT range AS n, repeat('x', 50) AS t FROM range(50000)")
        assert [row["n"] for row in many] == list(range(50_000))
        assert end["chunks"] > 2


def test_a_query_sees_every_message_before_it(recorder: RecorderProcess) -> None:
    with connected_to(recorder.broker, "operator") as client, connected_to(recorder.broker) as device:
        query = QueryClient(client)
        for n in range(20):
            device.publish("/readings/own/temperature", json.dumps({"sensorID": "s", "type": "temperature", "value": n}), qos=1)
            rows, _ = query("SELECT max(celsius) AS last, count(*) AS n FROM room_temperature WHERE room = 'own'")
            assert rows == [{"last": n, "n": n + 1}]


def test_killed_under_load_it_records_each_message_once(recorder: RecorderProcess) -> None:
    count, kills = 12_000, 4
    with connected_to(recorder.broker, "operator") as client, connected_to(recorder.broker) as device:
        last = None
        for n in range(count):
            last = device.publish("/readings/load/temperature", b"%d" % n, qos=1 + (n % 10 == 0))
            if n % (count // kills) == count // kills // 2:
                time.sleep(0.1)
                recorder.kill()
                recorder.start()
            if n % 500 == 499:
                last.wait_for_publish(30)
        assert last is not None
        last.wait_for_publish(30)
        until(
            lambda: (
                int(
                    QueryClient(client)(
                        "SELECT count(DISTINCT payload) AS n FROM messages WHERE topic LIKE '/readings/load/%'"
                    )[0][0]["n"]
                )
                == count
            )
        )
    assert recorder.stop() == 0
    found = recorder.rows("SELECT payload, count(*) FROM messages WHERE topic = '/readings/load/temperature' GROUP BY ALL")
    assert {int(payload) for payload, _ in found} == set(range(count))
    assert [payload for payload, times in found if times != 1] == []
    recorder.start()


def test_a_broker_restart_neither_loses_nor_doubles(recorder: RecorderProcess) -> None:
    with connected_to(recorder.broker, "operator") as client, connected_to(recorder.broker) as device:
        publish(client, "heating/room-1/setpoint", '{"celsius":21}')
        for n in range(100):
            publish(device, "/readings/a/temperature", str(n))
    recorder.broker.restart()
    with connected_to(recorder.broker, "operator") as client, connected_to(recorder.broker) as device:
        for n in range(100, 200):
            publish(device, "/readings/a/temperature", str(n))
        query = QueryClient(client)
        until(lambda: query("SELECT count(*) AS n FROM messages WHERE topic = '/readings/a/temperature'")[0][0]["n"] >= 200)
        rows, _ = query(
            "SELECT count(*) AS n, count(DISTINCT payload) AS d FROM messages WHERE topic = '/readings/a/temperature'"
        )
        assert rows == [{"n": 200, "d": 200}]


def test_a_second_recorder_refuses_to_start(recorder: RecorderProcess) -> None:
    with connected_to(recorder.broker, "operator") as client:
        QueryClient(client)("SELECT 1")
        second = subprocess.run(
            [sys.executable, "-m", "storage"], env=recorder.broker.environment, capture_output=True, text=True
        )
        assert second.returncode == 1
        assert recorder.running is not None
        assert f"process {recorder.running.pid}" in second.stderr
        assert "Traceback" not in second.stderr
        assert QueryClient(client)("SELECT 1 AS one")[0] == [{"one": 1}]


def test_a_second_recorder_on_another_database_is_refused(recorder: RecorderProcess, tmp_path: Path) -> None:
    environment = {**recorder.broker.environment, "SCAUP_DATA_DIR": str(tmp_path / "other")}
    second = subprocess.run(
        [sys.executable, "-m", "storage"], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert second.returncode == 75, second.stderr
    assert "another recorder (boot " in second.stderr
    assert "stop it first" in second.stderr
    with connected_to(recorder.broker) as client:
        publish(client, "/readings/still/temperature", b'{"sensorID":"s","type":"temperature","value":20}')
    assert recorder.running is not None
    assert recorder.running.poll() is None


def test_a_stale_online_state_delays_the_start_only_briefly(own_broker: RealBroker) -> None:
    with connected_to(own_broker, "recorder") as client:
        client.publish(
            "components/recorder/state", '{"state":"online","boot":"earlier","version":"1"}', 1, True
        ).wait_for_publish(5)
    process = RecorderProcess(own_broker)
    process.start()
    until(lambda: b"as scaup-recorder" in (own_broker.data_dir / "recorder.log").read_bytes())
    assert process.stop() == 0


@pytest.mark.parametrize("response_topic", [None, "storage/answer/+", "storage/answer/#", "/actuators/room-1"])
def test_a_query_without_a_usable_response_topic_is_rejected(recorder: RecorderProcess, response_topic: str | None) -> None:
    with connected_to(recorder.broker, "operator") as client, connected_to(recorder.broker, "operator") as odd:
        properties = Properties(PacketTypes.PUBLISH)
        if response_topic:
            vars(properties)["ResponseTopic"] = response_topic  # paho would refuse a wildcard, other clients may not
        odd.publish("storage/query", '{"sql":"SELECT 1"}', qos=1, properties=properties).wait_for_publish(30)
        query = QueryClient(client)
        until(lambda: query("SELECT count(*) AS n FROM rejected_message WHERE component = 'recorder'")[0][0]["n"] == 1)
        rows, _ = query("SELECT topic, reason FROM rejected_message")
        assert rows[0]["topic"] == "storage/query"
        assert "response topic" in rows[0]["reason"]


def test_stopping_during_a_query_is_quick_and_clean(recorder: RecorderProcess) -> None:
    with connected_to(recorder.broker, "operator") as client, connected_to(recorder.broker) as device:
        QueryClient(client)("SELECT 1")
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic, properties.CorrelationData = "storage/answer/query-client", b"slow"
        sql = "SELECT count(*) FROM range(100000) a, range(100000) b, range(1000) c"
        client.publish("storage/query", json.dumps({"sql": sql}), qos=1, properties=properties).wait_for_publish(10)
        publish(device, "/readings/stop/temperature", "x")
        until(
            lambda: (
                "x" in str(QueryClient(client)("SELECT payload FROM messages WHERE topic = '/readings/stop/temperature'")[0])
            )
        )
        started_s = time.monotonic()
        assert recorder.stop() == 0
        assert time.monotonic() - started_s < 15  # the query would run for a minute
    wal = recorder.broker.settings.database.with_name("scaup.duckdb.wal")
    assert not wal.exists(), "the database was not checkpointed and closed"
    recorder.start()


def test_stopping_commits_what_arrived(recorder: RecorderProcess) -> None:
    with connected_to(recorder.broker, "operator") as client, connected_to(recorder.broker) as device:
        query = QueryClient(client)
        for n in range(500):
            device.publish("/readings/stop/temperature", str(n), qos=1)
        device.publish("/readings/stop/temperature", "last", qos=1).wait_for_publish(30)
        seen = query("SELECT count(*) AS n FROM messages WHERE topic = '/readings/stop/temperature'")[0][0]["n"]
        assert recorder.stop() == 0
    kept = recorder.rows("SELECT count(*), count(DISTINCT payload) FROM messages WHERE topic = '/readings/stop/temperature'")
    assert seen == 501
    assert kept == [(501, 501)]
    recorder.start()
