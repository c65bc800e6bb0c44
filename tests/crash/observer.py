"""An independent client (paho) that queries the recorder and survives broken connections."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

ANSWERS = "storage/answer/crash"
ONE_ANSWER_S = 3.0
"""Time to wait for an answer before a retry: a killed broker may have lost request or answer."""


class Observer:
    """Queries one number at a time. The recorder answers after everything that the broker had for it before the query."""

    def __init__(self, client: paho.Client) -> None:
        self._client = client
        self._identities = count(1)
        self._answers: dict[bytes, list[Any]] = {}
        self._arrived = threading.Condition()
        client.on_connect = self._on_connect
        client.on_message = self._on_message

    def query(self, sql: str, timeout_s: float) -> int | None:
        """Return the number that a query gives, None if no answer came in time."""
        deadline_s = time.monotonic() + timeout_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            identity = self._publish(sql)
            with self._arrived:
                if self._arrived.wait_for(lambda: self._answers.get(identity), min(ONE_ANSWER_S, left_s)):  # noqa: B023
                    return int(next(iter(self._answers[identity][0].values())))
        return None

    def _publish(self, sql: str) -> bytes:
        identity = str(next(self._identities)).encode()
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic, properties.CorrelationData = ANSWERS, identity
        self._client.publish("storage/query", json.dumps({"sql": sql}), qos=1, properties=properties)
        return identity

    def _on_connect(self, client: paho.Client, *_: Any) -> None:
        client.subscribe(ANSWERS, qos=1)

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        answer = json.loads(message.payload)
        if isinstance(answer, list):  # a chunk of rows, not the closing message
            with self._arrived:
                self._answers[getattr(message.properties, "CorrelationData", b"")] = answer
                self._arrived.notify_all()


@contextmanager
def observing(host: str, port: int, account: tuple[str, str]) -> Iterator[Observer]:
    """Lend an observer that reconnects by itself; `account` is a name and its password."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="crash-observer", protocol=paho.MQTTv5)
    client.username_pw_set(*account)
    client.reconnect_delay_set(1, 1)
    observer = Observer(client)
    client.connect(host, port)
    client.loop_start()
    try:
        yield observer
    finally:
        client.disconnect()
        client.loop_stop()
