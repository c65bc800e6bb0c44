"""One publisher in its own process, with an independent client (paho): groups at QoS 1, each awaited.

It ends when its standard input does, after the broker has acknowledged everything.
"""

import random
import sys
import threading
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import click
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.crash.sending import Sending, line

LARGEST_GROUP = 500
ANSWER_S = 90.0
"""Seconds without an acknowledgement or CONNACK after which a connection is given up."""
RETRY_S = 0.1


class Connection:
    """One connection. It is never resumed: a lost one is replaced, so that paho repeats nothing by itself."""

    def __init__(self, client_id: str) -> None:
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5, reconnect_on_failure=False
        )
        self._client.max_inflight_messages_set(LARGEST_GROUP)
        self._client.on_connect = lambda *_: self._note(connected=True)
        self._client.on_disconnect = lambda *_: self._note(lost=True)
        self._client.on_publish = self._on_publish
        self._changed = threading.Condition()
        self._connected = self._lost = False
        self._acknowledged: set[int] = set()
        self._refused: set[int] = set()
        self.acknowledged_s = 0.0
        """Wall time of the last acknowledgement."""

    def open(self, host: str, port: int) -> bool:
        """Connect; return whether that succeeded."""
        try:
            self._client.connect(host, port)
        except OSError:
            return False
        self._client.loop_start()
        with self._changed:
            self._changed.wait_for(lambda: self._connected or self._lost, ANSWER_S)
            return self._connected and not self._lost

    def publish(self, group: Sequence[Sending]) -> list[Sending]:
        """Publish a group and wait; return the acknowledged messages: all, unless the connection was lost."""
        with self._changed:
            self._acknowledged.clear()
        numbers = {self._client.publish(each.topic, each.payload, qos=1).mid: each for each in group}
        with self._changed:
            self._changed.wait_for(lambda: self._lost or len(self._acknowledged) == len(group) or self._refused, ANSWER_S)
            if self._refused:
                raise SystemExit("the broker refused a publication: its access file does not allow it")
            return [each for number, each in numbers.items() if number in self._acknowledged]

    def close(self) -> None:
        """Disconnect if still connected."""
        self._client.disconnect()
        self._client.loop_stop()

    def _note(self, connected: bool = False, lost: bool = False) -> None:
        with self._changed:
            self._connected |= connected
            self._lost |= lost
            self._changed.notify_all()

    def _on_publish(self, _client: paho.Client, _data: Any, number: int, reason: Any, _properties: Any) -> None:
        with self._changed:
            (self._refused if reason.is_failure else self._acknowledged).add(number)
            self.acknowledged_s = time.time()
            self._changed.notify_all()


class Publisher:
    """Publishes numbered messages until `stop` is set, at least `least` of them, at `rate` messages a second on average."""

    def __init__(self, name: int, host: str, port: int, padding: int, random_: random.Random) -> None:
        self._name, self._host, self._port, self._random = name, host, port, random_
        self._numbers, self._connections = count(1), count(1)
        self._padding = padding
        self._unacknowledged: list[Sending] = []
        self._connection: Connection | None = None

    def run(self, least: int, rate: float, stop: threading.Event, file: Path) -> None:
        published, began_s = 0, time.monotonic()
        with file.open("w", buffering=1) as lines:
            while self._unacknowledged or published < least or not stop.is_set():
                fresh = not stop.is_set() or published < least
                group = self._next_group(fresh)
                acknowledged, at_s = self._send(group)
                lines.write(line(group, acknowledged, at_s))
                self._unacknowledged = sorted(set(group) - set(acknowledged))
                published += len(acknowledged)
                stop.wait(max(0.0, began_s + published / rate - time.monotonic()) if fresh else 0)
        if self._connection is not None:
            self._connection.close()

    def _next_group(self, fresh: bool) -> list[Sending]:
        retries = [each.retry() for each in self._unacknowledged]
        room = max(0, self._random.randint(1, LARGEST_GROUP) - len(retries)) if fresh else 0
        return retries + [Sending(self._name, next(self._numbers), 1, self._padding) for _ in range(room)]

    def _send(self, group: list[Sending]) -> tuple[list[Sending], float]:
        connection = self._connection = self._connection or self._connected()
        acknowledged = connection.publish(group)
        if len(acknowledged) < len(group):
            connection.close()
            self._connection = None
        return acknowledged, connection.acknowledged_s

    def _connected(self) -> Connection:
        while True:
            connection = Connection(f"crash-{self._name}-{next(self._connections)}")
            if connection.open(self._host, self._port):
                return connection
            connection.close()
            time.sleep(RETRY_S)


def _stop_at_the_end_of_input() -> threading.Event:
    stop = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait, daemon=True).start()
    return stop


@click.command()
@click.option("--name", type=int, required=True)
@click.option("--host", required=True)
@click.option("--port", type=int, required=True)
@click.option("--least", type=int, required=True)
@click.option("--rate", type=float, required=True)
@click.option("--padding", type=int, required=True)
@click.option("--seed", required=True)
@click.option("--file", type=click.Path(path_type=Path), required=True)
def main(name: int, host: str, port: int, least: int, rate: float, padding: int, seed: str, file: Path) -> None:
    publisher = Publisher(name, host, port, padding, random.Random(seed))
    publisher.run(least, rate, _stop_at_the_end_of_input(), file)


if __name__ == "__main__":
    main()
