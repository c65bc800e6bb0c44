"""Queries whose clients leave: killed, interrupted, or cut off by a closed pipe."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from adapters.client.paho_bus import connected
from broker.contract.storage.answers import cancel
from broker.mqtt.options import Address
from broker.runtime.settings import ROOT
from tests.real_broker import RealBroker
from tests.system.test_recorder import QueryClient, RecorderProcess, connected_to

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

SCAUP = (sys.executable, "-m", "adapters.cli.main")
SLOW = "SELECT count(*) FROM range(100000) a, range(100000) b, range(1000) c"
CLIENTS = 6
"""As many as the recorder answers at once."""


@pytest.fixture
def recorder(own_broker: RealBroker) -> Iterator[RecorderProcess]:
    process = RecorderProcess(own_broker)
    process.start()
    process.wait_until_online()
    yield process
    process.stop()


def started(broker: RealBroker, sql: str = SLOW) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*SCAUP, "query", sql], env=broker.environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_queries_end_when_their_clients_leave(recorder: RecorderProcess, number: signal.Signals) -> None:
    with connected_to(recorder.broker, "operator") as client:
        query = QueryClient(client)
        published = SimpleQueue[object]()
        client.message_callback_add("storage/query", lambda _c, _d, message: published.put(message.payload))
        client.subscribe("storage/query", qos=1)
        clients = [started(recorder.broker) for _ in range(CLIENTS)]
        for _ in clients:
            published.get(timeout=30)
        time.sleep(0.5)  # until they run
        for each in clients:
            os.kill(each.pid, number)
        for each in clients:
            each.communicate(timeout=10)
        started_s = time.monotonic()
        rows, _ = query("SELECT 1 AS n")
        assert rows == [{"n": 1}]
        assert time.monotonic() - started_s < 2
        cancelled, _ = query("SELECT count(DISTINCT payload) AS n FROM messages WHERE topic = 'storage/cancel'")
        assert cancelled == [{"n": CLIENTS}]
        # All of them have ended: as many run at once as before.
        assert query("SELECT count(*) AS n FROM range(10)")[0] == [{"n": 10}]


def test_reader_that_closes_its_pipe_ends_the_query(recorder: RecorderProcess) -> None:
    many = "SELECT a.range AS n, repeat('x', 100) AS t FROM range(3000000) a"
    command = " ".join([*SCAUP, f'query "{many}" | head -n 1'])
    subprocess.run(
        ["bash", "-c", command], env=recorder.broker.environment, cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    with connected_to(recorder.broker, "operator") as client:
        found, _ = QueryClient(client)("SELECT DISTINCT payload FROM messages WHERE topic = 'storage/cancel'")
    assert len(found) == 1
    assert json.loads(found[0]["payload"])["client"].startswith("operator/scaup-cli-")


def test_account_without_the_right_may_connect_with_the_will(own_broker: RealBroker) -> None:
    with connected(Address(host=own_broker.host, port=own_broker.port), will=cancel) as bus:
        assert bus.retained("components/+/state") == {}
