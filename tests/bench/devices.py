"""Declared devices under load: mapped messages for each second of processor time, and what the mapping adds to the delay.

python -m tests.bench.devices
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import psutil
from paho.mqtt.enums import CallbackAPIVersion

from adapters.launcher.accounts import Action, Change, carry_out
from broker.contract.roles import Role
from broker.runtime.settings import read_password
from tests import real_broker
from tests.real_broker import RealBroker

DEVICES, MESSAGES, QUIET_MESSAGES, QUIET_PER_S = 200, 40_000, 5_000, 500
NEEDED_PER_S, NEEDED_MS = 5_000, 10.0
DECLARATION = """
[sensor.d{n}]
from = "zigbee/d{n}"
room = "d{n}"
value = "temperature"
time = "last_seen"
range = [-20, 60]
"""


def main() -> None:
    """Run the bench and print its figures; exit 1 where one is missed."""
    with tempfile.TemporaryDirectory() as folder:
        broker = real_broker.create(Path(folder))
        broker.start()
        try:
            per_s, wall_per_s, added_ms = _run(broker)
        finally:
            real_broker.remove(broker)
    print(f"mapped messages a second of processor time   {per_s:8,.0f}   (needed {NEEDED_PER_S:,})")
    print(f"mapped messages a second, this machine       {wall_per_s:8,.0f}")
    print(f"added delay at {QUIET_PER_S} a second, p50          {added_ms[0]:8.1f} ms")
    print(f"added delay at {QUIET_PER_S} a second, p99          {added_ms[1]:8.1f} ms   (needed {NEEDED_MS:.0f})")
    print(f"for comparison: the broker's own delay, p99   {added_ms[2]:8.1f} ms   (high where the machine is busy)")
    sys.exit(per_s < NEEDED_PER_S or added_ms[1] > NEEDED_MS)


def _run(broker: RealBroker) -> tuple[float, float, tuple[float, float, float]]:
    made = carry_out(broker.data_dir, Change(action=Action.ADD, name="gateway", role=Role.DEVICE, topics=("zigbee/#",)))
    broker.process.reload()
    folder = broker.data_dir / "devices"
    folder.mkdir()
    (folder / "all.toml").write_text("".join(DECLARATION.format(n=n) for n in range(DEVICES)))
    devices = subprocess.Popen([sys.executable, "-m", "adapters.devices"], env=broker.environment, stderr=subprocess.DEVNULL)
    try:
        time.sleep(6)  # it waits two seconds for a recorder, of which there is none here
        gateway = _client(broker, "gateway", made.password or "")
        operator = _client(broker, "operator", read_password(broker.data_dir, "operator") or "")
        taken = _Arrivals(operator)
        cpu = _cpu(devices.pid)
        started_s = time.perf_counter()
        for number in range(MESSAGES):
            _publish(gateway, number)
            while number - taken.mapped > 5_000:
                time.sleep(0.001)
        taken.wait(MESSAGES)
        wall_s, cpu_s = time.perf_counter() - started_s, _cpu(devices.pid) - cpu
        taken.reset()
        for number in range(MESSAGES, MESSAGES + QUIET_MESSAGES):
            taken.sent[number / 1000] = time.perf_counter()
            _publish(gateway, number)
            time.sleep(1 / QUIET_PER_S)
        taken.wait(QUIET_MESSAGES)
        return MESSAGES / cpu_s, MESSAGES / wall_s, taken.added_ms()
    finally:
        devices.terminate()
        devices.wait(20)


class _Arrivals:
    """When foreign and mapped messages arrive at one client: the difference is what the component adds."""

    def __init__(self, client: paho.Client) -> None:
        self.mapped = 0
        self._foreign: dict[float, float] = {}
        self._added: list[float] = []
        self._own: list[float] = []
        self.sent: dict[float, float] = {}
        client.on_message = self._take
        client.subscribe([("zigbee/#", 1), ("/readings/#", 1)])

    def _take(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        now_s, body = time.perf_counter(), json.loads(message.payload)
        if message.topic.startswith("zigbee/"):
            self._foreign[body["temperature"]] = now_s
            self._own.append(now_s - self.sent.pop(body["temperature"], now_s))
        else:
            self.mapped += 1
            self._added.append(now_s - self._foreign.pop(body["value"], now_s))

    def wait(self, count: int) -> None:
        ends_s = time.monotonic() + 60
        while self.mapped < count:
            assert time.monotonic() < ends_s, f"{self.mapped} of {count} messages were mapped"
            time.sleep(0.005)

    def reset(self) -> None:
        self.mapped = 0
        self._added.clear()
        self._own.clear()

    def added_ms(self) -> tuple[float, float, float]:
        found, own = statistics.quantiles(self._added, n=100), statistics.quantiles(self._own, n=100)
        return found[49] * 1000, found[98] * 1000, own[98] * 1000


def _publish(client: paho.Client, number: int) -> None:
    payload = {"temperature": number / 1000, "last_seen": 1_700_000_000_000 + number, "battery": 97, "linkquality": 120}
    client.publish(f"zigbee/d{number % DEVICES}", json.dumps(payload), qos=1)


def _client(broker: RealBroker, account: str, password: str) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.username_pw_set(account, password)
    client.max_inflight_messages_set(1_000)
    up = threading.Event()
    client.on_connect = lambda *_: up.set()
    client.connect(broker.host, broker.port)
    client.loop_start()
    assert up.wait(10)
    return client


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    os.environ.setdefault("SCAUP_TEST_BROKER", "local")
    main()
