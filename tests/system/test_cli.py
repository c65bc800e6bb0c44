"""The command line with real processes, a real broker and the real recorder."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from adapters.client.errors import Refused, Unreachable
from adapters.client.paho_bus import PahoBus, connected
from broker.contract.heating.topics import SETPOINT, Setpoint
from broker.message import Publication
from broker.mqtt.options import Address
from broker.runtime.settings import ROOT
from tests import real_broker
from tests.real_broker import RealBroker

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
SCAUP = (sys.executable, "-m", "adapters.cli.main")
ROOMS = (f"cli-{number}" for number in count(1))


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealBroker]:
    """A broker with a recorder on it."""
    created = real_broker.create(tmp_path_factory.mktemp("cli"))
    try:
        created.start()
        with recording(created):
            yield created
    finally:
        real_broker.remove(created)


@pytest.fixture
def room() -> str:
    """A room that no other test uses."""
    return next(ROOMS)


@contextmanager
def recording(broker: RealBroker) -> Iterator[None]:
    with (broker.data_dir / "recorder.log").open("ab") as log:
        process = subprocess.Popen([*SCAUP, "run", "recorder"], env=broker.environment, cwd=ROOT, stderr=log)
    try:
        deadline_s = time.monotonic() + 20
        while scaup(broker, "status", "recorder").returncode:
            assert time.monotonic() < deadline_s, (broker.data_dir / "recorder.log").read_text()
        yield
    finally:
        process.terminate()
        assert process.wait(20) == 0


def scaup(broker: RealBroker, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SCAUP, *arguments],
        env={**broker.environment, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def read(room: str, number: int) -> Publication:
    payload = {"sensorID": "sensor-1", "type": "temperature", "value": number}
    return Publication(topic=f"/readings/{room}/temperature", payload=json.dumps(payload).encode())


def device(broker: RealBroker) -> Address:
    return Address(host=broker.host, port=broker.port)


def publish(broker: RealBroker, room: str, *numbers: int) -> None:
    with connected(device(broker)) as bus:
        for number in numbers:
            bus.publish(read(room, number))


def values(text: str) -> list[int]:
    return [json.loads(json.loads(line)["payload"])["value"] for line in text.splitlines()]


def test_a_query_sees_what_was_published_before_it(plant: RealBroker, room: str) -> None:
    for number in range(5):
        publish(plant, room, number)
        sql = "SELECT count(*) AS n, max(celsius) AS newest FROM room_temperature WHERE room = $room"
        result = scaup(plant, "query", "-p", f"room={room}", sql)
        assert json.loads(result.stdout) == {"n": number + 1, "newest": number}


def test_topics_last_and_tail(plant: RealBroker, room: str) -> None:
    publish(plant, room, 1, 2, 3)
    (topic,) = map(json.loads, scaup(plant, "topics", f"/readings/{room}/+").stdout.splitlines())
    assert (topic["topic"], topic["messages"]) == (f"/readings/{room}/temperature", 3)
    assert values(scaup(plant, "last", f"/readings/{room}/#").stdout) == [3]
    assert values(scaup(plant, "tail", f"/readings/{room}/#", "-n", "2").stdout) == [2, 3]
    assert values(scaup(plant, "tail", f"/readings/{room}/#", "--since", "1h").stdout) == [1, 2, 3]


def test_a_large_answer_in_many_parts(plant: RealBroker, tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    sql = "SELECT range AS n, repeat('x', 100) AS text FROM range(200000)"
    result = scaup(plant, "query", sql, "--output-file", str(path))
    assert (result.returncode, result.stdout) == (0, "")
    assert len(path.read_text().splitlines()) == 200_001


@pytest.mark.parametrize(
    ("sql", "code", "text"),
    [
        ("DELETE FROM messages", 4, "only SELECT"),
        ("SELECT * FROM read_csv('/etc/passwd')", 4, "read_csv"),
        ("SELECT 1; SELECT 2", 4, "one statement"),
        ("SELECT\n  nothing FROM messages", 2, "\n    nothing FROM messages\n    ^"),
        ("SELECT * FROM nothing", 2, "nothing"),
    ],
)
def test_refused_and_invalid_queries(plant: RealBroker, sql: str, code: int, text: str) -> None:
    result = scaup(plant, "query", sql)
    assert (result.returncode, result.stdout) == (code, "")
    assert text in result.stderr
    assert "Fix: " in result.stderr


def test_a_query_that_takes_too_long_is_stopped(plant: RealBroker) -> None:
    result = scaup(plant, "query", "SELECT count(*) FROM range(100000000000)", "--timeout", "0.3")
    assert result.returncode == 4
    assert "0.3 s" in result.stderr


def test_a_closed_pipe_is_quiet(plant: RealBroker) -> None:
    command = f"{' '.join(SCAUP)} query 'SELECT * FROM range(100000)' | head -2"
    done = subprocess.run(["bash", "-c", command], env=plant.environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ('{"range":0}\n{"range":1}\n', "")


class Tail:
    """`scaup tail -f` as a process, read while it runs."""

    def __init__(self, broker: RealBroker, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*SCAUP, "tail", "-f", *arguments],
            env=broker.environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.lines.append(line)

    def wait_for(self, text: str) -> None:
        deadline_s = time.monotonic() + 30
        while not any(text in line for line in self.lines[-1:]):
            assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
            assert time.monotonic() < deadline_s, f"{text} did not come, the last was {self.lines[-1:]}"
            time.sleep(0.01)

    def stop(self) -> str:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(10) == 130
        self._thread.join(10)
        assert self.process.stderr is not None
        with self.process.stderr as errors:
            return errors.read()


@pytest.mark.parametrize("wide", [False, True])
def test_tail_shows_every_message_once_while_many_arrive(plant: RealBroker, room: str, wide: bool) -> None:
    stop = threading.Event()
    sent = 0

    def publisher() -> None:
        nonlocal sent
        with connected(device(plant)) as bus:
            while not stop.is_set():
                sent += 1
                bus.publish(read(room, sent))

    thread = threading.Thread(target=publisher)
    thread.start()
    try:
        while sent < 300:
            time.sleep(0.01)
        tail = Tail(plant, "#" if wide else f"/readings/{room}/#", "--since", "1h")
        started = sent
        while sent < started + 1_000:
            time.sleep(0.01)
    finally:
        stop.set()
        thread.join()
    publish(plant, room, 999_999)
    wait_until(lambda: any(room in line and '\\"value\\": 999999' in line for line in tail.lines))
    assert tail.stop() == ""
    shown = [line for line in tail.lines if json.loads(line)["topic"] == f"/readings/{room}/temperature"]
    assert values("".join(shown)) == [*range(1, sent + 1), 999_999]


def wait_until(done: object, timeout_s: float = 30) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not done():  # type: ignore[operator]
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_live_messages_have_the_shape_of_recorded_ones(plant: RealBroker, room: str) -> None:
    publish(plant, room, 1)
    tail = Tail(plant, f"/readings/{room}/#")
    tail.wait_for('\\"value\\": 1')
    publish(plant, room, 2)
    tail.wait_for('\\"value\\": 2')
    tail.stop()
    recorded, live = map(json.loads, tail.lines)
    assert list(recorded) == list(live)
    assert {name: type(value) for name, value in recorded.items()} == {name: type(value) for name, value in live.items()}
    assert (live["source"], live["seq"], live["qos"], live["retain"]) == ("operator", 1, 1, False)


def test_retained_messages_of_the_past_are_not_live(plant: RealBroker, room: str) -> None:
    assert scaup(plant, "heating", "setpoint", room, "20").returncode == 0
    tail = Tail(plant, f"heating/{room}/setpoint", "-n", "0", "-o", "csv")
    wait_until(lambda: len(tail.lines) == 1)
    time.sleep(1.0)
    result = scaup(plant, "heating", "setpoint", room, "21")
    assert json.loads(result.stdout) == {"room": room, "old_c": 20.0, "new_c": 21.0}
    tail.wait_for("21")
    tail.stop()
    assert len(tail.lines) == 2


def test_tail_survives_a_restart_of_the_broker(tmp_path: Path, room: str) -> None:
    broker = real_broker.create(tmp_path)
    try:
        broker.start()
        tail = Tail(broker, f"/readings/{room}/#")
        wait_until(lambda: "scaup-cli-" in (broker.data_dir / "mosquitto.log").read_text(), 10)
        numbers = iter(range(1, 100))
        publish_until_seen(broker, room, tail, numbers)
        seen = len(tail.lines)
        broker.restart()
        publish_until_seen(broker, room, tail, numbers)
        assert len(tail.lines) > seen
        assert "reconnecting" in tail.stop()
    finally:
        real_broker.remove(broker)


def publish_until_seen(broker: RealBroker, room: str, tail: Tail, numbers: Iterator[int]) -> None:
    before = len(tail.lines)
    deadline_s = time.monotonic() + 30
    while len(tail.lines) == before:
        publish(broker, room, next(numbers))
        assert time.monotonic() < deadline_s
        time.sleep(0.2)


def test_wrong_logins_and_refusals_exit_with_4(plant: RealBroker, room: str, tmp_path: Path) -> None:
    wrong = scaup(plant, "status", SCAUP_MQTT_USERNAME="operator", SCAUP_MQTT_PASSWORD="wrong")
    assert (wrong.returncode, "refused the login" in wrong.stderr) == (4, True)
    no_login = {"SCAUP_DATA_DIR": str(tmp_path)}
    for arguments in (["heating", "setpoint", room, "20"], ["query", "SELECT 1"]):
        refused = scaup(plant, *arguments, **no_login)
        assert (refused.returncode, "0x87" in refused.stderr) == (4, True), refused.stderr


def test_a_held_file_without_a_broker_names_the_process(plant: RealBroker) -> None:
    result = scaup(plant, "query", "SELECT 1", SCAUP_MQTT_PORT=str(real_broker.free_ports(1)[0]))
    assert result.returncode == 3
    assert re.search(r"process \d+", result.stderr)


def test_doctor_finds_no_fault_in_a_running_system(plant: RealBroker) -> None:
    result = scaup(plant, "doctor", SCAUP_COMPONENTS="recorder")
    found = {each["check"]: each for each in map(json.loads, result.stdout.splitlines())}
    assert not [each for each in found.values() if each["result"] == "failed"]
    assert result.returncode == 0
    assert found["access of recorder"]["result"] == found["access without login"]["result"] == "ok"


def test_doctor_leaves_nothing_behind(plant: RealBroker) -> None:
    scaup(plant, "doctor")
    with connected(plant.settings.broker_address("operator")) as bus:
        assert not [topic for topic in bus.retained("#") if "doctor" in topic]
        assert not [topic for topic in bus.retained("/#") if "doctor" in topic]


def test_retained_messages_beyond_the_receive_maximum(own_broker: RealBroker) -> None:
    count = 25_000
    with connected(own_broker.settings.broker_address("operator")) as bus:
        for number in range(count):
            bus.post(SETPOINT.publication(Setpoint(celsius=20.0), room=f"room-{number}"), 1)
        bus.settle()
        assert len(bus.retained(SETPOINT.template.filter, "components/+/state")) == count


def test_reading_retained_messages_keeps_live_ones(plant: RealBroker, room: str) -> None:
    setpoint = SETPOINT.publication(Setpoint(celsius=21.0), room=room)
    with (
        connected(plant.settings.broker_address("operator")) as bus,
        connected(plant.settings.broker_address("operator")) as operator,
    ):
        bus.subscribe(setpoint.topic)
        operator.publish(setpoint)
        wait_until(lambda: setpoint.topic in operator.retained(setpoint.topic))
        assert set(bus.retained("components/+/state")) == {"components/recorder/state"}
        live = bus.receive(5)
        assert live is not None
        assert (live.topic, live.payload, live.retain) == (setpoint.topic, setpoint.payload, True)


@pytest.mark.quiet
def test_status_is_light_enough_for_a_health_check(plant: RealBroker) -> None:
    scaup(plant, "status")
    spent_s = []
    for _ in range(3):
        before = os.times()
        assert scaup(plant, "status", "recorder").returncode == 0
        after = os.times()
        spent_s.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(spent_s) < 0.5, "0.2 s on a quiet machine"


def test_queries_read_the_file_after_a_clean_stop(tmp_path_factory: pytest.TempPathFactory, room: str) -> None:
    broker = real_broker.create(tmp_path_factory.mktemp("cli-file"))
    try:
        broker.start()
        with recording(broker):
            publish(broker, room, 1, 2, 3)
        result = scaup(broker, "tail", f"/readings/{room}/#")
        assert values(result.stdout) == [1, 2, 3]
        assert "scaup.duckdb" in result.stderr
    finally:
        real_broker.remove(broker)
    assert values(scaup(broker, "tail", f"/readings/{room}/#").stdout) == [1, 2, 3]


def test_a_recorder_without_a_broker_is_named_in_the_error(own_broker: RealBroker) -> None:
    with recording(own_broker):
        own_broker.stop()
        result = scaup(own_broker, "query", "SELECT 1")
    assert (result.returncode, result.stdout) == (3, "")
    assert f"most likely the recorder, which answers over its broker only; and no broker at {own_broker.host}" in result.stderr
    assert "Fix: start it with `make up`, or set its address with SCAUP_MQTT_HOST" in result.stderr


def test_the_bus_raises_errors_with_their_cause(plant: RealBroker) -> None:
    with connected(device(plant)) as bus, pytest.raises(Refused, match=r"/actuators/x without a login.*0x87"):
        bus.publish(Publication(topic="/actuators/x", payload=b"{}"))
    with pytest.raises(Unreachable, match="no broker at"):
        PahoBus(Address(host="127.0.0.1", port=real_broker.free_ports(1)[0])).connect()
