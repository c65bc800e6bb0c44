"""A client of the query protocol, independent of the recorder's code, which also reads `storage/stats`."""

import socket
import threading
import time
from typing import Any

import orjson
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker.runtime.settings import read_password
from tests.bench.recorder_world import PATIENCE_S, running_recorder
from tests.real_broker import RealBroker

ANSWER_TOPIC = "storage/answer/bench"


class Operator:
    """Sends one query at a time, with the operator's account."""

    def __init__(self, broker: RealBroker) -> None:
        self.stats: list[dict[str, Any]] = []
        self._messages: list[paho.MQTTMessage] = []
        self._final, self._online, self._subscribed = threading.Event(), threading.Event(), threading.Event()
        self._answered_s, self._asked = 0.0, 0
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.username_pw_set("operator", read_password(broker.data_dir, "operator"))
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_socket_open = _send_at_once
        self._client.connect(broker.host, broker.port)

    def __enter__(self) -> "Operator":
        self._client.loop_start()
        self._client.subscribe([(ANSWER_TOPIC, 1), ("storage/stats", 1), ("components/recorder/state", 1)])
        _wait(self._subscribed, "the subscription")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def wait_until_online(self) -> None:
        """Wait until the recorder reports that it records."""
        _wait(self._online, "the recorder to be online")

    def post(self, sql: str, parameters: dict[str, Any] | None = None, form: str = "json") -> float:
        """Publish a query and return when, in seconds of the monotonic clock; `answer` waits for its answer."""
        self._final.clear()
        self._messages = []
        self._asked += 1
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic, properties.CorrelationData = ANSWER_TOPIC, b"%d" % self._asked
        payload = orjson.dumps({"sql": sql, "parameters": parameters or {}, "format": form})
        began_s = time.monotonic()
        self._client.publish("storage/query", payload, qos=1, properties=properties).wait_for_publish(PATIENCE_S)
        return began_s

    def answer(self) -> tuple[list[dict[str, Any]], float]:
        """Wait for the answer to the last query; return its rows, where they are JSON, and when it was complete (s)."""
        _wait(self._final, "an answer")
        *chunks, end = self._messages
        closing = orjson.loads(end.payload)
        if closing["error"]:
            raise RuntimeError(f"the recorder answered {closing['error']}")
        rows = [row for each in chunks if each.payload.startswith(b"[") for row in orjson.loads(each.payload)]
        return rows, self._answered_s

    def ask(self, sql: str, parameters: dict[str, Any] | None = None, form: str = "json") -> tuple[list[dict[str, Any]], float]:
        """Return the rows, and the seconds from the query to the end of its answer."""
        asked_s = self.post(sql, parameters, form)
        rows, answered_s = self.answer()
        return rows, answered_s - asked_s

    def scalar(self, sql: str) -> float:
        """Return the only value of an answer."""
        rows, _ = self.ask(sql)
        return float(next(iter(rows[0].values())))

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        if message.topic == "storage/stats":
            self.stats.append(orjson.loads(message.payload))
        elif message.topic == ANSWER_TOPIC:
            if getattr(message.properties, "CorrelationData", b"") != b"%d" % self._asked:
                return
            self._messages.append(message)
            if ("final", "true") in getattr(message.properties, "UserProperty", []):
                self._answered_s = time.monotonic()
                self._final.set()
        elif b'"online"' in message.payload:
            self._online.set()
        else:
            self._online.clear()


def _send_at_once(_client: object, _data: object, opened: Any) -> None:
    """Without this a query waits up to 40 ms behind the acknowledgements of the last answer (Nagle's algorithm)."""
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def create_session(broker: RealBroker) -> None:
    """Connect as the recorder once, so that the broker queues messages for it from now on."""
    with running_recorder(broker), Operator(broker) as operator:
        operator.wait_until_online()


def _wait(event: threading.Event, what: str) -> None:
    if not event.wait(PATIENCE_S):
        raise TimeoutError(f"waited {PATIENCE_S:g} s for {what}")
