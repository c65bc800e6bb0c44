"""The broker as `make up` configures it: who may publish, what survives, where it listens."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import paho.mqtt.client as paho
import psutil
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker.runtime.settings import read_password
from tests import real_broker
from tests.real_broker import LocalMosquitto, RealBroker

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]
NOT_AUTHORIZED = 0x87


@contextmanager
def client(broker: RealBroker, account: str | None = None, **options: Any) -> Iterator[paho.Client]:
    connected = threading.Event()
    made = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, **options)
    made.on_connect = lambda *_: connected.set()
    if account:
        made.username_pw_set(account, read_password(broker.data_dir, account))
    made.connect(broker.host, broker.port)
    made.loop_start()
    try:
        assert connected.wait(10)
        yield made
    finally:
        made.disconnect()
        made.loop_stop()


def publish(made: paho.Client, topic: str, payload: str = "x", retain: bool = False) -> int:
    """Publish with QoS 1 and return the broker's reason code."""
    done = threading.Event()
    codes: list[int] = []

    def on_publish(_client: object, _data: object, _mid: int, reason: Any, _properties: object) -> None:
        codes.append(reason.value)
        done.set()

    made.on_publish = on_publish
    made.publish(topic, payload, qos=1, retain=retain)
    assert done.wait(10)
    return codes[0]


def received(made: paho.Client, topic: str, trigger: Any = lambda: None, count: int = 1) -> list[paho.MQTTMessage]:
    """Subscribe, call `trigger`, and return the first `count` messages."""
    messages: list[paho.MQTTMessage] = []
    enough, subscribed = threading.Event(), threading.Event()

    def on_message(_client: object, _data: object, message: paho.MQTTMessage) -> None:
        messages.append(message)
        if len(messages) >= count:
            enough.set()

    made.on_message = on_message
    made.on_subscribe = lambda *_: subscribed.set()
    made.subscribe(topic, qos=1)
    assert subscribed.wait(10)
    trigger()
    assert enough.wait(10)
    return messages


@pytest.mark.parametrize("topic", ["/readings/room-1/temperature", "machines/7/reading", "machines/7/status", "energy/3/raw"])
def test_anonymous_publications_of_devices_are_accepted(broker: RealBroker, topic: str) -> None:
    with client(broker) as anonymous:
        assert publish(anonymous, topic) < 0x80


@pytest.mark.parametrize("topic", ["/actuators/room-1", "heating/room-1/setpoint", "storage/query", "components/heating/state"])
def test_other_anonymous_publications_are_refused(broker: RealBroker, topic: str) -> None:
    with client(broker) as anonymous:
        assert publish(anonymous, topic) == NOT_AUTHORIZED


def test_operator_may_set_a_setpoint_but_no_valve(broker: RealBroker) -> None:
    with client(broker, "operator") as operator:
        assert publish(operator, "heating/room-broker-test/setpoint") < 0x80
        assert publish(operator, "/actuators/room-broker-test") == NOT_AUTHORIZED


def test_wrong_password_is_refused(broker: RealBroker) -> None:
    refused = threading.Event()
    made = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    made.username_pw_set("operator", "guess")
    made.on_connect = lambda _c, _d, _f, reason, _p: refused.set() if reason.value == NOT_AUTHORIZED else None
    made.connect(broker.host, broker.port)
    made.loop_start()
    try:
        assert refused.wait(10)
    finally:
        made.disconnect()
        made.loop_stop()


def test_anonymous_clients_may_read_everything(broker: RealBroker) -> None:
    topic = "heating/room-read-test/setpoint"
    with client(broker) as reader, client(broker, "operator") as operator:
        assert [each.payload for each in received(reader, "#", lambda: publish(operator, topic), 1)]


@pytest.fixture
def websocket_broker(tmp_path: Path) -> Iterator[RealBroker]:
    created = real_broker.create(tmp_path, websockets=True)
    created.start()
    yield created
    real_broker.remove(created)


@pytest.mark.parametrize(("password", "code"), [(None, NOT_AUTHORIZED), ("guess", NOT_AUTHORIZED), ("", 0)])
def test_websockets_require_a_login(websocket_broker: RealBroker, password: str | None, code: int) -> None:
    answers = SimpleQueue[int]()
    browser = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, transport="websockets")
    browser.ws_set_options(headers={"Origin": "https://evil.example"})
    browser.on_connect = lambda _c, _d, _f, reason, _p: answers.put(reason.value)
    if password is not None:
        browser.username_pw_set("operator", password or read_password(websocket_broker.data_dir, "operator"))
    browser.connect(websocket_broker.host, websocket_broker.ws_port)
    browser.loop_start()
    try:
        assert answers.get(timeout=10) == code
    finally:
        browser.disconnect()
        browser.loop_stop()


def test_websockets_leave_other_listeners_and_queues_alone(websocket_broker: RealBroker) -> None:
    topic = "/readings/room-1/temperature"
    session = Properties(PacketTypes.CONNECT)
    session.SessionExpiryInterval = 3600
    _connect_once(websocket_broker, session, topic)
    with client(websocket_broker) as device:
        assert publish(device, topic) == 0
        assert publish(device, "heating/room-1/setpoint") == NOT_AUTHORIZED
    websocket_broker.restart()
    assert _drain(websocket_broker, session, 1) == [b"x"]


def test_clean_stop_keeps_retained_messages_and_queues(own_broker: RealBroker) -> None:
    topic, queued = "heating/room-1/setpoint", "/readings/room-1/temperature"
    session = Properties(PacketTypes.CONNECT)
    session.SessionExpiryInterval = 3600
    _connect_once(own_broker, session, queued)
    with client(own_broker, "operator") as operator:
        publish(operator, topic, "kept", retain=True)
    with client(own_broker) as device:
        # Twice Mosquitto's default limit for a disconnected client.
        infos = [device.publish(queued, str(number), qos=1) for number in range(2000)]
        for info in infos:
            info.wait_for_publish(10)
    own_broker.restart()
    with client(own_broker) as reader:
        assert received(reader, topic)[0].payload == b"kept"
    assert _drain(own_broker, session, 2000) == [str(number).encode() for number in range(2000)]


def _sleeper() -> paho.Client:
    return paho.Client(CallbackAPIVersion.VERSION2, client_id="sleeper", protocol=paho.MQTTv5)


def _connect_once(broker: RealBroker, session: Properties, topic: str) -> None:
    subscribed = threading.Event()
    sleeper = _sleeper()

    def on_connect(*_: object) -> None:
        sleeper.subscribe(topic, qos=1)

    sleeper.on_connect = on_connect
    sleeper.on_subscribe = lambda *_: subscribed.set()
    sleeper.connect(broker.host, broker.port, clean_start=False, properties=session)
    sleeper.loop_start()
    assert subscribed.wait(10)
    sleeper.disconnect()
    sleeper.loop_stop()


def _drain(broker: RealBroker, session: Properties, count: int) -> list[bytes]:
    sleeper = _sleeper()
    messages: list[bytes] = []
    enough = threading.Event()

    def on_message(_client: object, _data: object, message: paho.MQTTMessage) -> None:
        messages.append(bytes(message.payload))
        if len(messages) == count:
            enough.set()

    sleeper.on_message = on_message
    sleeper.connect(broker.host, broker.port, clean_start=False, properties=session)
    sleeper.loop_start()
    try:
        assert enough.wait(20), f"{len(messages)} of {count}"
    finally:
        sleeper.disconnect()
        sleeper.loop_stop()
    return messages


def test_listens_on_loopback_only(own_broker: RealBroker) -> None:
    if not isinstance(own_broker.process, LocalMosquitto):
        pytest.skip("in a container the engine's port mapping decides")
    assert own_broker.process._running is not None
    process = psutil.Process(own_broker.process._running.pid)
    listening = {(each.laddr.ip, each.laddr.port) for each in process.net_connections("inet") if each.status == "LISTEN"}
    assert {port for _, port in listening} == {own_broker.port}
    assert {address for address, _ in listening} <= {"127.0.0.1", "::1"}


def test_configuration_is_accepted_without_a_warning(own_broker: RealBroker) -> None:
    log = own_broker.process.log()
    assert "Warning: Mosquitto should not be run as root" in log or "Warning" not in log
    assert "Error" not in log
    assert "Unknown" not in log
