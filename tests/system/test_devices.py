"""Declared devices against a real broker and recorder: rights, files that change, and each message once over kill -9."""

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from adapters.launcher.accounts import Action, Change, carry_out
from broker.contract.roles import Role
from broker.runtime.settings import read_password
from tests.real_broker import RealBroker
from tests.system.test_recorder import RecorderProcess

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

SENSOR = '[sensor.{name}]\nfrom = "zigbee/{name}"\nroom = "{name}"\nvalue = "t"\n'
VALVE = '[valve.v]\nto = "zigbee/trv/set"\nroom = "office"\nsend.pos = { of = "level" }\n'


class DevicesProcess:
    def __init__(self, broker: RealBroker) -> None:
        self.broker = broker
        self.folder = broker.data_dir / "devices"
        self.folder.mkdir()
        self.running: subprocess.Popen[bytes] | None = None

    def declare(self, name: str, text: str) -> None:
        draft = self.folder / f"{name}.draft"
        draft.write_text(text)
        draft.replace(self.folder / f"{name}.toml")

    def start(self) -> None:
        with (self.broker.data_dir / "devices.log").open("ab") as log:
            self.running = subprocess.Popen([sys.executable, "-m", "adapters.devices"], env=self.broker.environment, stderr=log)

    def kill(self) -> None:
        assert self.running
        self.running.kill()
        self.running.wait(10)

    def stop(self) -> None:
        assert self.running
        self.running.terminate()
        assert self.running.wait(20) == 0


class Client:
    """A client that keeps the latest payload of each topic, and counts how its publications were acknowledged."""

    def __init__(self, broker: RealBroker, account: str, password: str) -> None:
        self.latest: dict[str, bytes] = {}
        self.acknowledged: dict[int, int] = {}
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.username_pw_set(account, password)
        self._client.max_inflight_messages_set(200)
        up = threading.Event()
        self._client.on_connect = lambda *_: up.set()
        self._client.on_message = lambda _c, _d, message: self.latest.__setitem__(message.topic, bytes(message.payload))
        self._client.on_publish = lambda _c, _d, number, reason, _p: self.acknowledged.__setitem__(number, reason.value)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        assert up.wait(10)

    def subscribe(self, topic: str) -> None:
        self._client.subscribe(topic, qos=1)

    def publish(self, topic: str, payload: Any, retain: bool = False) -> int:
        text = payload if isinstance(payload, (str, bytes)) else json.dumps(payload)
        return self._client.publish(topic, text, qos=1, retain=retain).mid

    def refused(self, topic: str, payload: Any) -> bool:
        """Publish; return whether the broker refused it."""
        number = self.publish(topic, payload)
        wait_for(lambda: number in self.acknowledged)
        return self.acknowledged[number] == 0x87

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def wait_for(condition: Callable[[], Any], timeout_s: float = 20.0) -> None:
    ends_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends_s, "not in time"
        time.sleep(0.02)


@pytest.fixture
def recorder(own_broker: RealBroker) -> Iterator[RecorderProcess]:
    process = RecorderProcess(own_broker)
    process.start()
    yield process
    process.stop()


@pytest.fixture
def devices(own_broker: RealBroker) -> Iterator[DevicesProcess]:
    process = DevicesProcess(own_broker)
    yield process
    process.stop()


@pytest.fixture
def gateway(own_broker: RealBroker) -> Iterator[Client]:
    """A device with an account for topics of its own."""
    change = Change(action=Action.ADD, name="gateway", role=Role.DEVICE, topics=("zigbee/#",))
    made = carry_out(own_broker.data_dir, change)
    assert made.password, made.error
    own_broker.reload()
    time.sleep(0.5)
    client = Client(own_broker, "gateway", made.password)
    yield client
    client.close()


@pytest.fixture
def operator(own_broker: RealBroker) -> Iterator[Client]:
    client = Client(own_broker, "operator", read_password(own_broker.data_dir, "operator") or "")
    for topic in ("devices/+/state", "components/+/state", "/readings/#", "rejected/#"):
        client.subscribe(topic)
    yield client
    client.close()


def _state(operator: Client, name: str) -> dict[str, Any]:
    payload = operator.latest.get(f"devices/{name}/state")
    return json.loads(payload) if payload else {}


def test_files_take_effect_while_it_runs(
    own_broker: RealBroker, recorder: RecorderProcess, devices: DevicesProcess, gateway: Client, operator: Client
) -> None:
    recorder.wait_until_online()
    devices.start()
    wait_for(lambda: b"online" in operator.latest.get("components/devices/state", b""))
    heating = Client(own_broker, "heating", read_password(own_broker.data_dir, "heating") or "")
    heating.publish("/actuators/office", {"level": 14}, retain=True)
    gateway.subscribe("zigbee/trv/set")

    table = '[table.linked]\nfrom = "zigbee/office"\nvalue.celsius = { of = "t", type = "double" }\n'
    devices.declare("a", SENSOR.format(name="office") + VALVE + table)
    saved_s = time.monotonic()
    wait_for(lambda: _state(operator, "sensor.office").get("active"))
    assert time.monotonic() - saved_s < 2
    wait_for(lambda: gateway.latest.get("zigbee/trv/set") == b'{"pos":14}')
    gateway.publish("zigbee/office", {"t": 21.5})
    gateway.publish("zigbee/office", {"t": "x"})
    wait_for(lambda: "/readings/office/temperature" in operator.latest and "rejected/devices" in operator.latest)
    assert json.loads(operator.latest["/readings/office/temperature"])["value"] == 21.5
    assert json.loads(operator.latest["rejected/devices"])["payload"] == '{"t": "x"}'

    wait_for(lambda: '"linked"' in _query(own_broker, "SELECT table_name FROM information_schema.tables"))
    assert json.loads(_query(own_broker, "SELECT celsius FROM linked")) == {"celsius": 21.5}

    own = Client(own_broker, "devices", read_password(own_broker.data_dir, "devices") or "")
    assert not own.refused("zigbee/trv/set", "1")
    assert own.refused("zigbee/other/set", "1")
    assert own.refused("/readings/kitchen/temperature", "1")
    assert own.refused("/actuators/office", "1")

    devices.declare("a", SENSOR.format(name="office") + "vlaue = 3\n")
    expected = "a.toml:5: sensor.office.vlaue: unknown keyword"
    wait_for(lambda: str(_state(operator, "sensor.office")["error"]).startswith(expected))
    assert _state(operator, "sensor.office")["active"]
    gateway.publish("zigbee/office", {"t": 22.5})
    wait_for(lambda: json.loads(operator.latest["/readings/office/temperature"])["value"] == 22.5)

    (devices.folder / "a.toml").unlink()
    wait_for(lambda: not operator.latest["devices/sensor.office/state"] and not operator.latest["devices/valve.v/state"])
    wait_for(lambda: own.refused("zigbee/trv/set", "1"), 5)
    gateway.publish("zigbee/office", {"t": 23.5})
    time.sleep(0.5)
    assert json.loads(operator.latest["/readings/office/temperature"])["value"] == 22.5
    heating.close()
    own.close()


def test_each_message_counts_once_over_20_kills(
    recorder: RecorderProcess, devices: DevicesProcess, gateway: Client, operator: Client
) -> None:
    recorder.wait_until_online()
    devices.declare("constant", SENSOR.format(name="constant"))
    devices.declare("counted", SENSOR.format(name="counted") + 'time = "at"\n')
    devices.start()
    wait_for(lambda: b"online" in operator.latest.get("components/devices/state", b""))
    done, sent = threading.Event(), 0

    def load() -> None:
        nonlocal sent
        while not done.is_set():
            for _ in range(5):
                gateway.publish("zigbee/counted", {"t": sent / 1000, "at": 1_700_000_000_000 + sent})
                gateway.publish("zigbee/constant", {"t": 20})
                sent += 1
            time.sleep(0.01)

    loading = threading.Thread(target=load, daemon=True)
    loading.start()
    chance = random.Random(17)
    for number in range(10):
        time.sleep(chance.uniform(0.3, 0.6))
        devices.kill()
        if number % 3 == 0:
            recorder.kill()
            recorder.start()
        seen = operator.latest.get("/readings/counted/temperature")
        devices.start()
        wait_for(lambda: operator.latest.get("/readings/counted/temperature") != seen)  # noqa: B023 - of this round
        time.sleep(chance.uniform(0, 0.02))  # it is just catching up
        (devices if number % 2 else recorder).kill()
        (devices if number % 2 else recorder).start()
    done.set()
    loading.join()
    wait_for(lambda: len(gateway.acknowledged) >= 2 * sent)
    wait_for(lambda: _mapped_all(operator, sent), 40)
    recorder.stop()
    found = _temperatures(recorder.broker.settings.database)
    recorder.start()
    counted = Counter(value for sensor, value in found if sensor == "counted")
    assert sent > 1000
    assert counted == Counter(each / 1000 for each in range(sent))
    assert sum(sensor == "constant" for sensor, _ in found) == sent


def _mapped_all(operator: Client, sent: int) -> bool:
    """Return whether the last message is mapped, and a moment has passed."""
    last = json.loads(operator.latest.get("/readings/counted/temperature", b'{"value":-1}'))["value"]
    if last != (sent - 1) / 1000:
        return False
    time.sleep(1)
    return True


def _temperatures(database: Path) -> list[tuple[str, float]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute("SELECT sensor, celsius FROM room_temperature").fetchall()


def test_recorded_messages_are_applied_once(
    own_broker: RealBroker,
    recorder: RecorderProcess,
    devices: DevicesProcess,
    gateway: Client,
    operator: Client,
    tmp_path: Path,
) -> None:
    recorder.wait_until_online()
    devices.start()
    for number in range(3):
        gateway.publish("zigbee/office", {"temperature": 20 + number})
    wait_for(lambda: len(gateway.acknowledged) == 3)
    path = tmp_path / "office.toml"
    path.write_text(_scaup(own_broker, "draft", "zigbee/office"))
    assert _scaup(own_broker, "check", str(path)) == ""
    tried = [json.loads(line) for line in _scaup(own_broker, "try", str(path)).splitlines()]
    assert [each["value"] for each in tried] == [20, 21, 22]
    assert json.loads(_scaup(own_broker, "apply", str(path))) == {"device": "sensor.office", "applied": 3, "left_out": 0}
    devices.declare("office", path.read_text())
    wait_for(lambda: _state(operator, "sensor.office").get("active"))
    time.sleep(0.5)  # the broker reads its access rules
    gateway.publish("zigbee/office", {"temperature": 22})
    wait_for(lambda: _state(operator, "sensor.office")["mapped"] == 1)
    assert json.loads(_scaup(own_broker, "apply", str(path))) == {"device": "sensor.office", "applied": 0, "left_out": 4}
    (listed,) = (json.loads(line) for line in _scaup(own_broker, "list").splitlines())
    assert (listed["device"], listed["active"], listed["mapped"]) == ("sensor.office", True, 1)
    recorder.stop()
    assert sorted(celsius for _, celsius in _temperatures(own_broker.settings.database)) == [20, 21, 22, 22]
    recorder.start()


def _query(broker: RealBroker, sql: str) -> str:
    return _scaup(broker, sql, command="query")


def _scaup(broker: RealBroker, *words: str, command: str = "devices") -> str:
    program = [sys.executable, "-m", "adapters.cli.main", command, *words]
    done = subprocess.run(program, env=broker.environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout
