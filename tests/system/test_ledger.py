"""The ledger against a real recorder: it balances while messages arrive, and names those that are missing."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests import real_broker
from tests.real_broker import RealBroker
from tests.system.test_cli import recording, scaup, wait_until
from tests.system.test_recorder import connected_to

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


class Publisher:
    """Publishes stamped readings without the project's code, at most 250 a second, in a thread."""

    def __init__(self, broker: RealBroker, boot: str, skip: frozenset[int] = frozenset()) -> None:
        self.sent = 0
        self._broker, self._boot, self._skip = broker, boot, skip
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Publisher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with connected_to(self._broker) as client:
            while not self._stop.is_set():
                number = self.sent + 1
                if number not in self._skip:
                    self._publish(client, number)
                self.sent = number

    def _publish(self, client: paho.Client, number: int) -> None:
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = [("source", "test-rooms"), ("boot", self._boot), ("seq", str(number))]
        reading = {"sensorID": "s", "type": "temperature", "value": number if number % 10 else "bad"}
        topic = f"/readings/{self._boot}/temperature"
        sent = client.publish(topic, json.dumps(reading), qos=1, properties=properties)
        if number % 50 == 0:
            sent.wait_for_publish(30)
            self._stop.wait(0.2)


@contextmanager
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealBroker]:
    broker = real_broker.create(tmp_path_factory.mktemp("ledger"))
    try:
        broker.start()
        with recording(broker):
            yield broker
    finally:
        real_broker.remove(broker)


def test_the_ledger_balances_during_and_after_recording(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running(tmp_path_factory) as broker:
        with Publisher(broker, "one") as one, Publisher(broker, "two") as two:
            wait_until(lambda: min(one.sent, two.sent) > 300)
            for _ in range(3):
                before = one.sent
                for command in ("verify", "gaps"):
                    result = scaup(broker, command)
                    assert result.returncode == 0, result.stdout + result.stderr
                assert one.sent > before, "nothing was recorded meanwhile"
        with Publisher(broker, "three", skip=frozenset({7, 8})) as three:
            wait_until(lambda: three.sent > 20)
        live = scaup(broker, "gaps", "test-rooms")
    assert [(each["kind"], each["first_seq"], each["last_seq"]) for each in map(json.loads, live.stdout.splitlines())] == [
        ("claimed missing", 7, 8)
    ]
    assert live.returncode == 0
    path = broker.settings.database
    with duckdb.connect(str(path)) as connection:
        connection.execute("DELETE FROM live.messages WHERE topic = '/readings/one/temperature' AND seq = 20")
    result = scaup(broker, "verify")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    wrong = {(each["name"], each["boot"]): (each["missing"], each["surplus"]) for each in lines if each["verdict"] == "failed"}
    claimed = {each["boot"]: each["missing"] for each in lines if each["verdict"] == "claimed"}
    assert result.returncode == 1
    assert claimed == {"three": 2, "one": 1}
    assert wrong == {
        ("messages", None): (1, 0),
        ("rejected_message", None): (0, 1),
        ("room_temperature", None): (0, 1),
    }
