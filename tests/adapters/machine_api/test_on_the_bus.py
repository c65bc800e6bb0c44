"""The API as a process, with a real broker that stops, freezes and returns."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from broker.runtime.settings import ROOT
from tests.adapters.machine_api.world import READING, compact
from tests.real_broker import LocalMosquitto, RealBroker, free_ports

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
WITHIN_S = 8.0
"""The promise is 5 s; the machine that runs the tests may be busy."""
TIMEOUT_S = 40.0
"""A broker that has been unreachable for long is tried every 30 s."""
SHOWN = compact({**READING, "average_temperature": None, "average_speed": None})


class Api:
    """The API in its own process."""

    def __init__(self, broker: RealBroker) -> None:
        (self.port,) = free_ports(1)
        self.log = broker.data_dir / f"machine-api-{self.port}.log"
        environment = {**broker.environment, "SCAUP_MACHINE_API_PORT": str(self.port)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "adapters.machine_api"], env=environment, cwd=ROOT, stderr=log
            )

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WITHIN_S)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answered = connection.getresponse()
            return answered.status, {name.lower(): value for name, value in answered.getheaders()}, answered.read()
        finally:
            connection.close()

    def status(self, path: str) -> int:
        """Return the status of a GET; 0 while the port is closed."""
        try:
            return self.ask("GET", path)[0]
        except ConnectionRefusedError:
            return 0

    def refuses(self, first: str = "GET") -> None:
        """Assert that every request is answered with 503 within 5 s."""
        asked: list[tuple[str, str, bytes | None]] = [
            ("GET", "/data", None),
            ("POST", "/status", b'{"status":"IDLE"}'),
            ("GET", "/health", None),
            ("GET", "/data?id=2", None),
        ]
        for each in sorted(asked, key=lambda each: each[0] != first):
            began_s = time.monotonic()
            status, headers, body = self.ask(*each)
            assert status == 503
            assert int(headers["retry-after"]) > 0
            assert list(json.loads(body)) == ["error"]
            assert time.monotonic() - began_s < WITHIN_S

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(10)


@contextmanager
def started(broker: RealBroker) -> Iterator[Api]:
    api = Api(broker)
    try:
        yield api
    finally:
        api.process.kill()
        api.process.wait(10)


@contextmanager
def device(broker: RealBroker, received: list[paho.MQTTMessage]) -> Iterator[paho.Client]:
    """Connect a client without an account, which receives the messages for machines."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_message = lambda _client, _userdata, message: received.append(message)

    def subscribe(*_: Any) -> None:
        client.subscribe("machines/+/status", 1)

    client.on_connect = subscribe
    client.connect(broker.host, broker.port)
    client.loop_start()
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def until(condition: Callable[[], Any]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def publish_reading(client: paho.Client) -> None:
    client.publish("machines/1/reading", compact(READING), 1).wait_for_publish(10)


def signal_broker(broker: RealBroker, number: int) -> None:
    if isinstance(broker.process, LocalMosquitto):
        assert broker.process._running is not None
        os.kill(broker.process._running.pid, number)
    else:
        broker.process._container.get_wrapped_container().kill(number)  # type: ignore[attr-defined]


def test_started_before_the_broker_then_frozen_then_killed(own_broker: RealBroker) -> None:
    own_broker.stop()
    received: list[paho.MQTTMessage] = []
    with started(own_broker) as api:
        until(lambda: api.status("/health"))
        api.refuses()
        own_broker.start()
        until(lambda: api.status("/health") == 200)
        assert api.ask("GET", "/data")[0] == 404
        with device(own_broker, received) as machine:
            publish_reading(machine)
            until(lambda: api.status("/data") == 200)
            assert api.ask("POST", "/status", b'{"status":"completed"}')[::2] == (200, b'{"message":"Status updated"}')
            until(lambda: received)
            assert (received[0].topic, received[0].payload) == ("machines/1/status", b'{"status":"COMPLETED"}')
            assert ("source", "machine-api") in received[0].properties.UserProperty  # type: ignore[union-attr]
        for first in ("GET", "POST"):
            assert api.ask("GET", "/data")[::2] == (200, SHOWN)
            signal_broker(own_broker, signal.SIGSTOP)
            api.refuses(first)
            time.sleep(1)
            api.refuses()
            signal_broker(own_broker, signal.SIGCONT)
            until(lambda: api.status("/data") == 200)
        own_broker.kill()
        api.refuses()
        own_broker.start()
        until(lambda: api.status("/data") == 200)
        assert api.ask("POST", "/status", b'{"status":"IDLE"}')[0] == 200
        signal_broker(own_broker, signal.SIGSTOP)
        api.refuses()
        signal_broker(own_broker, signal.SIGCONT)
        until(lambda: api.status("/data") == 200)
        assert api.stop() == 0
        assert "Traceback" not in api.log.read_text()


def test_second_api_on_the_same_port_names_the_fix(own_broker: RealBroker) -> None:
    with started(own_broker) as api:
        until(lambda: api.status("/health") == 200)
        environment = {**own_broker.environment, "SCAUP_MACHINE_API_PORT": str(api.port)}
        second = subprocess.run(
            [sys.executable, "-m", "adapters.machine_api"],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert second.returncode == 1
        assert f"HTTP port {api.port} is taken on 127.0.0.1" in second.stderr
        assert "SCAUP_MACHINE_API_PORT" in second.stderr
