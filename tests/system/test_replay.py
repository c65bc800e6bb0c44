"""`scaup export` and `scaup replay` with a real broker and the real recorder."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from adapters.client.bus import Received
from adapters.client.paho_bus import PahoBus, connected
from broker.message import Publication
from broker.mqtt.options import Address
from tests import real_broker
from tests.real_broker import RealBroker
from tests.system.test_cli import SCAUP, recording, scaup

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealBroker]:
    """A broker with a recorder on it."""
    created = real_broker.create(tmp_path_factory.mktemp("replay"))
    try:
        created.start()
        with recording(created):
            yield created
    finally:
        real_broker.remove(created)


@contextmanager
def device(broker: RealBroker) -> Iterator[PahoBus]:
    with connected(Address(host=broker.host, port=broker.port)) as bus:
        yield bus


def post(bus: PahoBus, topic: str, payload: bytes, qos: int = 1, **stamp: str) -> None:
    bus.post(Publication(topic=topic, payload=payload, properties=tuple(stamp.items())), qos)
    bus.settle()


def rows(broker: RealBroker, sql: str) -> list[dict[str, Any]]:
    done = scaup(broker, "query", sql)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@contextmanager
def listening(broker: RealBroker, topic_filter: str) -> Iterator[list[Received]]:
    """Collect what is published below a filter."""
    replayed: list[Received] = []
    ended = threading.Event()
    with connected(broker.settings.broker_address("operator")) as bus:
        bus.subscribe(topic_filter)

        def listen() -> None:
            while not ended.is_set():
                received = bus.receive(0.2)
                if received is not None:
                    replayed.append(received)

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield replayed
        finally:
            ended.set()
            thread.join(10)


def wait_for(replayed: list[Received], count: int) -> list[Received]:
    deadline_s = time.monotonic() + 20
    while len(replayed) < count:
        assert time.monotonic() < deadline_s, replayed
        time.sleep(0.05)
    return replayed


@pytest.mark.quiet
def test_a_replay_keeps_order_and_spacing_and_is_marked(plant: RealBroker) -> None:
    source = "/readings/spaced/temperature"
    payloads = [b'{"sensorID":"s","type":"temperature","value":1}', b"\xff\x00", b"", "größer".encode(), b"last"]
    with device(plant) as bus:
        for number, (payload, qos) in enumerate(zip(payloads, (1, 0, 2, 1, 2), strict=True), start=1):
            post(bus, source, payload, qos, source="thermometer", boot="b1", seq=str(number))
            time.sleep(1.0)
    before = rows(plant, f"SELECT * FROM messages WHERE topic = '{source}' ORDER BY number")
    with listening(plant, "replay/#") as replayed:
        done = scaup(plant, "replay", "/readings/spaced/#", "--since", "1h", "--speed", "10")
        wait_for(replayed, 5)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["published"], summary["skipped"]) == (5, 0)
    assert 0.3 < summary["elapsed_s"] < 3, "4 s of recording at ten times its speed"
    assert [each.payload for each in replayed] == payloads
    assert {each.topic for each in replayed} == {f"replay/{source}"}
    assert not any(each.retain for each in replayed)
    assert [each.property("replayed-seq") for each in replayed] == ["1", "2", "3", "4", "5"]
    assert {each.property("replayed-source") for each in replayed} == {"thermometer"}
    assert {each.property("source") for each in replayed} == {"replay"}
    times = [datetime.fromisoformat(each.property("replayed") or "") for each in replayed]
    assert times == [datetime.fromisoformat(each["received_at"]) for each in before]
    assert all((later.at - earlier.at).total_seconds() > 0.02 for earlier, later in pairwise(replayed))
    again = rows(plant, f"SELECT * FROM messages WHERE topic = 'replay/{source}' ORDER BY number")
    assert [(each["payload"], each["payload_raw"], each["qos"]) for each in again] == [
        (each["payload"], each["payload_raw"], each["qos"]) for each in before
    ]
    assert [(each["source"], each["seq"], each["retain"]) for each in again] == [("replay", n, False) for n in range(1, 6)]
    assert rows(plant, f"SELECT * FROM messages WHERE topic = '{source}' ORDER BY number") == before
    assert len(rows(plant, "SELECT * FROM room_temperature WHERE room = 'spaced'")) == 1


def test_a_replay_of_everything_omits_replays_and_recorder(plant: RealBroker) -> None:
    with device(plant) as bus:
        post(bus, "/readings/wide/temperature", b"1")
    assert scaup(plant, "replay", "/readings/wide/#", "--all", "--speed", "max").returncode == 0
    done = scaup(plant, "replay", "--all", "--dry-run")
    topics = [json.loads(line)["topic"] for line in done.stdout.splitlines()]
    assert "/readings/wide/temperature" in topics
    assert not [each for each in topics if each.startswith(("replay/", "storage/", "$"))]


def test_a_refused_replay_names_topic_and_account(plant: RealBroker) -> None:
    with device(plant) as bus:
        post(bus, "/readings/refused/temperature", b"1")
        post(bus, "/readings/refused/temperature", b"2", 2)
    done = scaup(plant, "replay", "/readings/refused/#", "--since", "1h", "--speed", "max", "--to-prefix", "elsewhere/")
    assert (done.returncode, done.stdout) == (4, "")
    assert "elsewhere//readings/refused/temperature as 'operator'" in done.stderr
    assert "0x87" in done.stderr
    assert "Fix: " in done.stderr


def test_a_replay_to_the_original_topics_is_not_typed(plant: RealBroker) -> None:
    topic = "/readings/original/temperature"
    with device(plant) as bus:
        post(bus, topic, b'{"sensorID":"s","type":"temperature","value":20.5}')
    with listening(plant, topic) as replayed:
        done = scaup(plant, "replay", topic, "--since", "1h", "--to-prefix", "")
        wait_for(replayed, 1)
    assert done.returncode == 0, done.stderr
    assert len(rows(plant, f"SELECT * FROM messages WHERE topic = '{topic}'")) == 2
    assert len(rows(plant, "SELECT * FROM room_temperature WHERE room = 'original'")) == 1, "recorded as a new reading"
    assert "original topics" in done.stderr
    assert replayed[0].property("replayed") is not None
    assert json.loads(scaup(plant, "replay", topic, "--since", "1h", "--dry-run").stdout)["messages"] == 1


def test_ctrl_c_stops_a_replay_with_its_progress(plant: RealBroker) -> None:
    topic = "/readings/stopped/temperature"
    with device(plant) as bus:
        post(bus, topic, b"1")
        time.sleep(0.5)
        post(bus, topic, b"2")
    command = [*SCAUP, "replay", topic, "--since", "1h", "--speed", "0.001"]
    with listening(plant, f"replay/{topic}") as replayed:
        process = subprocess.Popen(command, env=plant.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(replayed, 1)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout) == (130, "")
    assert "stopped after 1 of 2 messages" in stderr


COUNT = 120_000  # more than one page of the export


def test_an_export_while_recording_equals_messages(plant: RealBroker, tmp_path: Path) -> None:
    ended = threading.Event()
    publisher = threading.Thread(target=_publish_until, args=(plant, ended))
    _publish_many(plant, COUNT)
    publisher.start()
    try:
        exports = {kind: tmp_path / f"all.{kind}" for kind in ("parquet", "csv", "jsonl.gz")}
        for path in exports.values():
            done = scaup(plant, "export", "/readings/many/#", "--output-file", str(path))
            assert (done.returncode, done.stdout) == (0, ""), done.stderr
    finally:
        ended.set()
        publisher.join(30)
    table = pq.read_table(exports["parquet"])
    assert table.num_rows >= COUNT
    numbers = table.column("number").to_pylist()
    assert numbers == sorted(set(numbers))
    (total,) = rows(
        plant, f"SELECT count(*) AS n FROM messages WHERE topic LIKE '/readings/many/%' AND number <= {numbers[-1]}"
    )
    assert table.num_rows == total["n"]
    digest = "SELECT count(*) AS n, bit_xor(hash(number, received_at, topic, payload, qos, seq))::VARCHAR AS digest FROM"
    (expected,) = rows(plant, f"{digest} messages WHERE topic LIKE '/readings/many/%' AND number <= {numbers[-1]}")
    with duckdb.connect() as reader:
        reader.execute("SET TimeZone = 'UTC'")
        assert reader.execute(f"{digest} '{exports['parquet']}'").fetchall() == [tuple(expected.values())]
        for path in (exports["csv"], exports["jsonl.gz"]):
            summary = reader.execute(f"SELECT count(*), count(DISTINCT number), max(payload) FROM '{path}'").fetchall()[0]
            assert summary[0] == summary[1] >= COUNT
    assert not list(tmp_path.glob("*.part"))


def _publish_many(broker: RealBroker, count: int) -> None:
    from tests.bench.recorder_backlog import Fleet, publish_all

    publish_all(broker.host, broker.port, Fleet(rooms=50, prefix="many/room-"), count)


def _publish_until(broker: RealBroker, ended: threading.Event) -> None:
    with device(broker) as bus:
        while not ended.is_set():
            for number in range(200):
                bus.post(Publication(topic="/readings/many/live", payload=b"%d" % number), 1)
            bus.settle()
            ended.wait(0.1)


def test_export_reads_the_file_without_a_recorder(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    broker = real_broker.create(tmp_path_factory.mktemp("export-file"))
    path = tmp_path / "all.jsonl"
    try:
        broker.start()
        with recording(broker), device(broker) as bus:
            for number in range(5):
                post(bus, "/readings/file/temperature", b'{"sensorID":"s","type":"temperature","value":%d}' % number)
        assert scaup(broker, "export", "/readings/#", "--output-file", str(path)).returncode == 0
        assert [json.loads(line)["topic"] for line in path.read_text().splitlines()] == ["/readings/file/temperature"] * 5
        done = scaup(broker, "export", "--table", "room_temperature", "-o", "csv")
        assert [line.split(",")[-1] for line in done.stdout.splitlines()] == ["celsius", "0.0", "1.0", "2.0", "3.0", "4.0"]
        with listening(broker, "replay/#") as replayed:
            assert scaup(broker, "replay", "/readings/#", "--since", "1h", "--speed", "max").returncode == 0
            wait_for(replayed, 5)
    finally:
        real_broker.remove(broker)


def test_an_interrupted_export_leaves_no_file(plant: RealBroker, tmp_path: Path) -> None:
    path = tmp_path / "endless.jsonl"
    sql = "SELECT * FROM range(100000000)"
    process = subprocess.Popen([*SCAUP, "export", "--sql", sql, "--output-file", str(path)], env=plant.environment)
    try:
        deadline_s = time.monotonic() + 20
        while not (part := path.with_name("endless.jsonl.part")).exists() or not part.stat().st_size:
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    finally:
        process.kill()
        process.wait()
    assert list(tmp_path.iterdir()) == []
