"""A device that invents names, on a real broker: what is known goes on, and the cost is bounded."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from broker.contract.heating.topics import HeatingState
from tests.real_broker import RealBroker

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

INVENTED = 20_000
KNOWN = "/readings/known/temperature"


@contextmanager
def device(broker: RealBroker, *filters: str) -> Iterator[tuple[paho.Client, dict[str, bytes], list[tuple[str, bytes]]]]:
    """Connect without an account; collects the latest payload of each topic, and all messages in order."""
    latest: dict[str, bytes] = {}
    messages: list[tuple[str, bytes]] = []

    def on_message(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        latest[message.topic] = bytes(message.payload)
        messages.append((message.topic, latest[message.topic]))

    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_message = on_message
    client.max_inflight_messages_set(1000)
    client.connect(broker.host, broker.port)
    client.loop_start()
    for each in filters:
        client.subscribe(each, qos=1)
    try:
        yield client, latest, messages
    finally:
        client.disconnect()
        client.loop_stop()


@contextmanager
def heating(broker: RealBroker, folder: Path) -> Iterator[tuple[int, Path]]:
    """Run the controller at scale 60; yield its process id and its log."""
    log = folder / "heating.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "controllers.heating"],
            env={**broker.environment, "SCAUP_TIME_SCALE": "60"}, stderr=output,
        )  # fmt: skip
        try:
            yield process.pid, log
        finally:
            process.terminate()
            process.wait(20)


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def publish_reading(client: paho.Client, topic: str) -> None:
    payload = {"sensorID": "s", "type": "temperature", "value": round(21.5 + random.uniform(-0.05, 0.05), 3)}
    client.publish(topic, msgspec.json.encode(payload), qos=1)


def modes(messages: list[tuple[str, bytes]]) -> list[str]:
    """Return the modes of the known room, in order."""
    states = [payload for topic, payload in messages if topic == "heating/known/state"]
    return [msgspec.json.decode(each, type=HeatingState).mode for each in states]


@pytest.mark.quiet
def test_known_rooms_are_held_among_invented_ones(own_broker: RealBroker, tmp_path: Path) -> None:
    with (
        heating(own_broker, tmp_path) as (pid, log),
        device(own_broker, "heating/known/state", "components/#") as (client, latest, got),
    ):
        deadline_s = time.monotonic() + 30
        while "heating/known/state" not in latest and time.monotonic() < deadline_s:
            publish_reading(client, KNOWN)
            time.sleep(0.2)
        assert "heating/known/state" in latest
        for number in range(INVENTED):
            publish_reading(client, f"/readings/r{number}/temperature")
        flooded, deadline_s = len(got), time.monotonic() + 40
        while not modes(got[flooded:]) and time.monotonic() < deadline_s:  # the flood is handled meanwhile
            publish_reading(client, KNOWN)
            time.sleep(0.2)
        before_s, got_before = processor_s(pid), len(got)
        for _ in range(50):
            publish_reading(client, KNOWN)
            time.sleep(0.2)
        used = (processor_s(pid) - before_s) / 10
    assert len(modes(got[got_before:])) >= 4
    assert "safe" not in modes(got[flooded:])
    assert "heating" in modes(got[got_before:])
    assert used < 0.5
    warning = latest["components/heating/warning"] or next(
        payload for topic, payload in got if topic == "components/heating/warning" and payload
    )
    assert b"too many new rooms" in warning
    text = log.read_text()
    assert "unreachable" not in text
    assert "dropped" not in text
    assert len(text.splitlines()) < 1_000


def wait_for_state(client: paho.Client, latest: dict[str, bytes]) -> None:
    deadline_s = time.monotonic() + 30
    while not latest.get("heating/ofice/state") and time.monotonic() < deadline_s:
        publish_reading(client, "/readings/ofice/temperature")
        time.sleep(0.2)
    assert latest.get("heating/ofice/state")


def test_a_forgotten_room_is_gone_until_it_sends(own_broker: RealBroker, tmp_path: Path) -> None:
    def scaup(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "adapters.cli.main", *arguments]
        return subprocess.run(command, env=own_broker.environment, capture_output=True, text=True, check=False, timeout=60)

    def retained() -> list[str]:
        with device(own_broker, "heating/#", "/actuators/#") as (_, latest, _messages):
            time.sleep(1.0)
            return sorted(latest)

    with heating(own_broker, tmp_path), device(own_broker, "heating/#") as (client, latest, _messages):
        wait_for_state(client, latest)
        assert scaup("heating", "setpoint", "ofice", "20").returncode == 0
        done = scaup("forget", "room", "ofice", "-o", "csv")
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["removed", "/actuators/ofice", "heating/ofice/setpoint", "heating/ofice/state"]
        time.sleep(2.0)
        assert retained() == []
    with heating(own_broker, tmp_path), device(own_broker, "heating/#") as (client, latest, _messages):
        time.sleep(3.0)
        assert retained() == []
        wait_for_state(client, latest)
        assert msgspec.json.decode(latest["heating/ofice/state"], type=HeatingState).setpoint == 22.0
    done = scaup("forget", "room", "ofice")
    assert (done.returncode, "is still retained" in done.stderr) in [(1, True), (3, False)]  # nothing runs that could
