"""A device that invents names, on a real broker: what is known goes on, and the cost is bounded."""

import os
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
    client.publish(topic, b'{"sensorID":"s","type":"temperature","value":21.5}', qos=1)


@pytest.mark.quiet
def test_known_rooms_are_held_among_invented_ones(broker: RealBroker, tmp_path: Path) -> None:
    with (
        heating(broker, tmp_path) as (pid, log),
        device(broker, "heating/known/state", "components/#") as (client, latest, got),
    ):
        deadline_s = time.monotonic() + 30
        while "heating/known/state" not in latest and time.monotonic() < deadline_s:
            publish_reading(client, KNOWN)
            time.sleep(0.2)
        assert "heating/known/state" in latest
        for number in range(INVENTED):
            publish_reading(client, f"/readings/r{number}/temperature")
        for _ in range(25):  # the flood is handled meanwhile
            publish_reading(client, KNOWN)
            time.sleep(0.2)
        before_s, got_before = processor_s(pid), len(got)
        for _ in range(50):
            publish_reading(client, KNOWN)
            time.sleep(0.2)
        used = (processor_s(pid) - before_s) / 10
        states = [msgspec.json.decode(payload, type=HeatingState) for topic, payload in got[got_before:] if "known" in topic]
    assert len(states) >= 8
    assert {each.mode for each in states} == {"heating"}
    assert used < 0.5
    warning = latest["components/heating/warning"] or next(
        payload for topic, payload in got if topic == "components/heating/warning" and payload
    )
    assert b"too many new rooms" in warning
    text = log.read_text()
    assert "unreachable" not in text
    assert "dropped" not in text
    assert len(text.splitlines()) < 1_000
