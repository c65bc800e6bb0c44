"""The Sparkplug host as a process, against the edge node of Eclipse Tahu's client."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from adapters.launcher.accounts import Action, Change, carry_out
from broker.contract.roles import Role
from broker.runtime.settings import ROOT
from tests import peers, real_broker
from tests.real_broker import RealBroker
from tests.system.test_recorder import connected_to

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

DECLARATION = """
[machine.press7]
from    = "spBv1.0/plant/+/line1/press7"
machine = 41
value.temperature = "Temp/Oil 1"
value.fan_speed   = { of = "Drive.Fan", scale = 60 }
value.status      = "Mode"
"""
READING, STATE = "machines/41/reading", "devices/machine.press7/state"
WITHIN_S = 10.0


class Bus:
    """What was published on the bus, in order."""

    def __init__(self) -> None:
        self.messages: list[tuple[float, str, Any]] = []
        self.changed = threading.Condition()

    def take(self, topic: str, payload: bytes) -> None:
        with self.changed:
            self.messages.append((time.time(), topic, json.loads(payload) if payload else None))
            self.changed.notify_all()

    def wait(self, topic: str, wanted: Callable[[Any], bool], since: int = 0) -> tuple[float, Any]:
        """Return the first payload wanted of those after `since`, and when it came."""

        def found() -> tuple[float, Any] | None:
            fitting = (
                (at, payload) for at, on, payload in self.messages[since:] if on == topic and payload and wanted(payload)
            )
            return next(fitting, None)

        with self.changed:
            assert self.changed.wait_for(lambda: found() is not None, WITHIN_S), f"nothing on {topic}: {self.messages[since:]}"
            result = found()
            assert result is not None
            return result

    def readings(self) -> list[float]:
        return [payload["temperature"] for _, topic, payload in self.messages if topic == READING]


class EdgeNode:
    """The edge node; `events` has what it reported."""

    def __init__(self, broker: RealBroker, password: str, *more: str) -> None:
        script = peers.require("sparkplug") / "node.cjs"
        command = [peers.node(), str(script), f"mqtt://{broker.host}:{broker.port}", "line1", password, *more]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.events: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.events.append(json.loads(line))
                self._changed.notify_all()

    def wait(self, name: str, count: int = 1) -> dict[str, Any]:
        def found() -> list[dict[str, Any]]:
            return [each for each in self.events if each["event"] == name]

        with self._changed:
            assert self._changed.wait_for(lambda: len(found()) >= count, WITHIN_S), self.events
            return found()[count - 1]

    def send(self, **command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def oil(self, celsius: float) -> None:
        self.send(data={"Temp/Oil 1": celsius})

    def stop(self) -> None:
        self.process.kill()
        self._reader.join(10)
        self.process.communicate(timeout=10)


class World:
    def __init__(self, broker: RealBroker, password: str, bus: Bus) -> None:
        self.broker, self.password, self.bus = broker, password, bus
        self.host = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        with (self.broker.data_dir / "devices.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "adapters.devices"], env=self.broker.environment, cwd=ROOT, stderr=log
            )

    def link(self, link: str, since: int = 0) -> None:
        self.bus.wait(STATE, lambda state: state["link"] == link, since)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    peers.require("sparkplug")
    broker = real_broker.create(tmp_path)
    broker.start()
    outcome = carry_out(tmp_path, Change(action=Action.ADD, name="line1", role=Role.DEVICE, topics=("spBv1.0/plant/#",)))
    assert outcome.password, outcome.error
    broker.reload()
    (tmp_path / "devices").mkdir(exist_ok=True)
    (tmp_path / "devices" / "press.toml").write_text(DECLARATION)
    with connected_to(broker, "operator") as client:
        bus = Bus()
        client.on_message = lambda _c, _d, message: bus.take(message.topic, bytes(message.payload))
        client.subscribe([(READING, 1), ("devices/#", 1), ("rejected/devices", 1)])
        made = World(broker, outcome.password, bus)
        try:
            bus.wait(STATE, lambda state: state["active"])
            yield made
        finally:
            made.host.kill()
            made.host.wait(10)
            real_broker.remove(broker)


def test_an_edge_node_through_gap_restart_and_death(world: World) -> None:
    bus, edge = world.bus, EdgeNode(world.broker, world.password)
    try:
        edge.wait("born")
        _, born = bus.wait(READING, lambda reading: reading["temperature"] == 60.5)
        assert born == {"id": 41, "temperature": 60.5, "fan_speed": 630.0, "status": "IDLE", "timestamp": born["timestamp"]}
        world.link("online")

        edge.oil(61.5)
        _, data = bus.wait(READING, lambda reading: reading["temperature"] == 61.5)
        assert (data["fan_speed"], data["status"]) == (630.0, "IDLE")

        edge.send(lose=True)
        edge.oil(62.5)  # after a gap: it comes with the rebirth
        assert edge.wait("ncmd")["rebirth"]
        bus.wait(READING, lambda reading: reading["temperature"] == 62.5)

        world.host.kill()
        world.host.wait(10)
        edge.oil(63.5)  # while the host is down
        edges_at = len(bus.messages)
        world.host = world.start()
        bus.wait(STATE, lambda state: state["active"], edges_at)
        started_at = time.time()
        edge.oil(64.5)
        asked = edge.wait("ncmd", 2)
        assert asked["at"] / 1000 - started_at < 2
        at, _ = bus.wait(READING, lambda reading: reading["temperature"] == 64.5)
        assert at - started_at < 2

        before = len(bus.messages)
        edge.send(dead=True)
        world.link("offline", before)
        edge.oil(65.5)  # data of a dead device
        edge.wait("ncmd", 3)
        world.link("online", before)
        before = len(bus.messages)
        edge.send(stop=True)
        world.link("offline", before)
        assert not [each for each in bus.messages if each[1].startswith("rejected/")]
        assert bus.readings() == [60.5, 61.5, 62.5, 64.5, 65.5]
    finally:
        edge.stop()


def test_compressed_payloads_and_one_request_a_second(world: World) -> None:
    bus, edge = world.bus, EdgeNode(world.broker, world.password, "compress")
    try:
        edge.wait("born")
        bus.wait(READING, lambda reading: reading["temperature"] == 60.5)
        edge.send(answer=False)
        edge.send(lose=True)
        for n in range(25):
            edge.oil(70.0 + n)
            time.sleep(0.1)
        edge.send(answer=True)
        deadline_s = time.monotonic() + WITHIN_S
        while not any(each >= 99 for each in bus.readings()):
            assert time.monotonic() < deadline_s
            edge.oil(99.0)
            time.sleep(0.2)
        asked = [each["at"] for each in edge.events if each["event"] == "ncmd"]
        assert len(asked) >= 3
        assert all(after - before > 950 for before, after in pairwise(asked))
        assert not any(70 <= each < 99 for each in bus.readings())
    finally:
        edge.stop()
