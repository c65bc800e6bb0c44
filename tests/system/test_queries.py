"""The recorder under full ingest, with many concurrent queries, hostile ones among them."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import duckdb
import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.real_broker import RealBroker
from tests.system.test_recorder import RecorderProcess, connected_to, until

pytestmark = [pytest.mark.system, pytest.mark.quiet, pytest.mark.timeout(120)]

PUBLISHERS, EACH = 3, 7_000
GROUP = 500
CLIENTS = 8
TIMEOUT_S = 1.5
ANSWER_S = TIMEOUT_S + 5
"""The time for which the command line waits."""

GOOD = [
    "SELECT count(*) AS n FROM messages",
    "SELECT topic, max(received_at) AS last FROM messages GROUP BY topic ORDER BY topic LIMIT 50",
    "SELECT * FROM messages ORDER BY received_at DESC LIMIT 500",
]
HOSTILE = [
    "SELECT list_sum(range(3000000000))",
    "SELECT repeat('x', 1000000) FROM range(100000)",
    "SELECT string_agg(range::VARCHAR, ',') FROM range(1000000000)",
    "SELECT count(*) FROM range(100000) a, range(100000) b, range(1000) c",
    "SELECT a.range FROM range(900000000) a ORDER BY 1 DESC",
    "SELECT levenshtein(repeat('a', 40000), repeat('b', 40000))",
    "SELECT a.range AS n, repeat('x', 100) AS t FROM range(10000000) a",
    "SELECT count(*) FROM messages a, messages b WHERE a.payload || b.payload = 'x'",
    "WITH d AS (DELETE FROM messages RETURNING *) SELECT * FROM d",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT " + "(" * 9_000 + "1" + ")" * 9_000,
]


@pytest.fixture
def recorder(own_broker: RealBroker) -> Iterator[RecorderProcess]:
    process = RecorderProcess(own_broker)
    process.start()
    process.wait_until_online()
    yield process
    process.stop()


@dataclass(frozen=True, slots=True)
class Answer:
    rows: list[dict[str, Any]]
    kind: str


class QueryClient:
    """A client with its own response topic."""

    def __init__(self, client: paho.Client, name: str) -> None:
        self._client, self._topic = client, f"storage/answer/{name}"
        self._messages: dict[bytes, list[paho.MQTTMessage]] = {}
        self._final: dict[bytes, threading.Event] = {}
        subscribed = threading.Event()
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = self._on_message
        client.subscribe(self._topic, qos=1)
        assert subscribed.wait(10)

    def put(self, sql: str, timeout_s: float = TIMEOUT_S) -> bytes:
        number = b"%d" % len(self._final)
        self._messages[number], self._final[number] = [], threading.Event()
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic, properties.CorrelationData = self._topic, number
        request = json.dumps({"sql": sql, "timeout_s": timeout_s})
        self._client.publish("storage/query", request, qos=1, properties=properties)
        return number

    def wait(self, number: bytes, patience_s: float = ANSWER_S) -> Answer:
        assert self._final[number].wait(patience_s), "no answer"
        *chunks, end = [json.loads(message.payload) for message in self._messages[number]]
        kind = end["error"]["kind"] if end["error"] else "answered"
        return Answer([row for chunk in chunks for row in chunk], kind)

    def __call__(self, sql: str) -> Answer:
        return self.wait(self.put(sql))

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        properties: Any = message.properties
        self._messages[properties.CorrelationData].append(message)
        if ("final", "true") in properties.UserProperty:
            self._final[properties.CorrelationData].set()


def publish_all(broker: RealBroker, publisher: int) -> None:
    with connected_to(broker) as device:
        for first in range(0, EACH, GROUP):
            group = range(first, min(first + GROUP, EACH))
            sent = [device.publish(f"/readings/p{publisher}/temperature", b"%d-%d" % (publisher, n), qos=1) for n in group]
            for each in sent:
                each.wait_for_publish(60)


def query_until(broker: RealBroker, number: int, done: threading.Event) -> Counter[str]:
    kinds: Counter[str] = Counter()
    with connected_to(broker, "operator") as client:
        ask = QueryClient(client, f"client-{number}")
        statements = GOOD if number < 2 else GOOD[:1] + HOSTILE[number:] + HOSTILE[:number]
        turn = 0
        while not done.is_set() or turn < len(statements):
            kinds[ask(statements[turn % len(statements)]).kind] += 1
            turn += 1
    return kinds


def test_the_recorder_uses_the_same_duckdb_as_its_tests(recorder: RecorderProcess) -> None:
    with connected_to(recorder.broker, "operator") as client:
        assert QueryClient(client, "me")("SELECT version() AS v").rows == [{"v": f"v{duckdb.__version__}"}]


def test_hostile_queries_harm_neither_recording_nor_others(recorder: RecorderProcess) -> None:
    assert recorder.running
    done = threading.Event()
    with ThreadPoolExecutor(PUBLISHERS + CLIENTS) as pool:
        queries = [pool.submit(query_until, recorder.broker, number, done) for number in range(CLIENTS)]
        publishing = [pool.submit(publish_all, recorder.broker, number) for number in range(PUBLISHERS)]
        try:
            for each in as_completed(publishing, timeout=60):
                each.result()
        finally:
            done.set()
        kinds = [each.result() for each in queries]
    assert {kind for each in kinds for kind in each} <= {"answered", "refused", "limit", "invalid"}
    assert all(each["answered"] for each in kinds[:2]), kinds
    assert all(each["limit"] for each in kinds[2:]), kinds
    with connected_to(recorder.broker, "operator") as client:
        ask = QueryClient(client, "afterwards")
        counting = "SELECT count(*) AS n FROM messages WHERE topic LIKE '/readings/%'"
        until(lambda: any(row["n"] == PUBLISHERS * EACH for row in ask(counting).rows))
    assert recorder.running.poll() is None, "the recorder died"
    assert recorder.stop() == 0
    found = recorder.rows("SELECT payload, count(*) FROM messages WHERE topic LIKE '/readings/%' GROUP BY ALL")
    assert {payload for payload, _ in found} == {f"{p}-{n}" for p in range(PUBLISHERS) for n in range(EACH)}
    assert [payload for payload, times in found if times != 1] == []
    recorder.start()


def test_many_long_queries_do_not_delay_other_clients(recorder: RecorderProcess) -> None:
    with connected_to(recorder.broker, "operator") as greedy, connected_to(recorder.broker, "operator") as other:
        busy, ask = QueryClient(greedy, "greedy"), QueryClient(other, "other")
        numbers = [busy.put(HOSTILE[3], timeout_s=4) for _ in range(20)]
        assert [ask(GOOD[0]).kind for _ in range(5)] == ["answered"] * 5  # the recorder gives each its time at most
        assert {busy.wait(number, 10).kind for number in numbers} == {"limit"}
