"""How fast a backlog of QoS 1 messages is drained: by the recorder, and by its peers on equal backlogs.

Timed is, for every client, from the moment the broker answers its CONNECT (the client has started and waits) to its last
acknowledgement. `mosquitto_sub` ends with that; the peers say when it was; the recorder acknowledges a batch before it answers
the queries in it, and its backlog ends with a query, so that the answer to it counts too, and proves what is committed.
"""

import os
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.bench import recorder_peers as peers
from tests.bench.figures import Figure, Peer, at_least, exactly, progress
from tests.bench.recorder_backlog import Fleet, publish_all
from tests.bench.recorder_operator import Operator, create_session
from tests.bench.recorder_world import Gate, Job, broker_process, processor_s, running_broker, running_recorder
from tests.real_broker import RealBroker

BACKLOG = 300_000
SLOW_BACKLOG = 10_000
REPEATS = 3
FLEET = Fleet(rooms=10)
COUNTS = """
SELECT (SELECT count(*) FROM messages WHERE starts_with(topic, '/readings/')) AS messages,
       (SELECT count(*) FROM room_temperature) AS readings
"""
_DISTINCT = "SELECT count(DISTINCT (room, sensor, celsius)) AS n FROM room_temperature"
_SESSION = ["-V", "5", "-c", "-x", str(peers.SESSION_EXPIRY_S), "-i", peers.CLIENT_ID, "-q", "1", "-t", "#"]


@dataclass(frozen=True, slots=True)
class Drained:
    """What one drain took: messages per second, and processor time per message in µs, which a busy machine disturbs less."""

    rate: float
    client_us: float
    broker_us: float


@dataclass(frozen=True, slots=True)
class Recorded:
    """Rows after a drain by the recorder."""

    messages: float
    readings: float
    distinct: float


def drains(scale: float) -> tuple[list[Figure], list[Peer]]:
    """Drain in turns, so that the machine's moods meet both, and compare each pair."""
    count, slow = round(BACKLOG * scale), round(SLOW_BACKLOG * scale)
    subs, ours, found = [], [], []
    for _ in range(REPEATS):
        subs.append(by_mosquitto_sub(count))
        drained, recorded = by_recorder(count)
        ours.append(drained)
        found.append(recorded)
    ratio = statistics.median(our.rate / sub.rate for sub, our in zip(subs, ours, strict=True))
    sub = _median(subs)
    table = [
        _peer("mosquitto_sub > /dev/null", "prints it", sub, 1.0),
        _peer("Scaup's recorder", "raw + typed row in DuckDB, durable", _median(ours), ratio),
        _compared("paho + sqlite3", "raw + typed row, durable", by_peer(peers.into_sqlite, count), sub),
        _compared("paho + DuckDB executemany", f"the same ({slow:,} messages)", by_peer(peers.into_duckdb, slow), sub),
    ]
    figures = [
        Figure("drain: recorder / mosquitto_sub, median of pairs", ratio, "×", at_least(0.95, "×")),
        Figure("drain: the same, goal", ratio, "×", at_least(1.2, "×")),
        Figure("drain: fewest rows in messages", min(each.messages for each in found), "", exactly(count)),
        Figure("drain: most rows in messages", max(each.messages for each in found), "", exactly(count)),
        Figure("drain: fewest rows in room_temperature", min(each.readings for each in found), "", exactly(count)),
        Figure("drain: fewest distinct readings", min(each.distinct for each in found), "", exactly(count)),
    ]
    return figures, table


def by_mosquitto_sub(count: int) -> Drained:
    """Return what mosquitto_sub takes."""
    with running_broker() as broker:
        _queue(broker, count)
        command = [*_subscribe(broker), "-C", str(count), "-W", "120"]
        with Gate(broker) as gate, subprocess.Popen(command, stdout=subprocess.DEVNULL) as client:
            began_s = gate.open(client.pid)
            meter = Meter(broker, client.pid)
            os.waitid(os.P_PID, client.pid, os.WEXITED | os.WNOWAIT)
            drained = meter.drained("mosquitto_sub", count, time.monotonic() - began_s)
            if client.wait():
                raise RuntimeError(f"mosquitto_sub did not get {count} messages")
    return drained


def by_peer(record: Callable[[str, int, int, Path], float], count: int) -> Drained:
    """Return what one of our own peers takes."""
    with running_broker() as broker:
        _queue(broker, count)
        with Gate(broker) as gate, Job(record, broker.host, broker.port, count, broker.data_dir) as job:
            began_s = gate.open(job.pid)
            meter = Meter(broker, job.pid)
            return meter.drained(record.__name__, count, job.result() - began_s)


def by_recorder(count: int) -> tuple[Drained, Recorded]:
    """Return what the recorder takes, and what is in the database then."""
    with running_broker() as broker:
        create_session(broker)
        publish_all(broker.host, broker.port, FLEET, count)
        with Operator(broker) as operator:
            operator.post(COUNTS)
            with Gate(broker) as gate, running_recorder(broker) as recorder:
                began_s = gate.open(recorder.pid, connections=2)
                meter = Meter(broker, recorder.pid)
                (row, *_), ended_s = operator.answer()
                drained = meter.drained("recorder", count, ended_s - began_s)
                return drained, Recorded(row["messages"], row["readings"], operator.scalar(_DISTINCT))


class Meter:
    """Reads the processor time of a client and of the broker, from now on."""

    def __init__(self, broker: RealBroker, pid: int) -> None:
        self._processes = psutil.Process(pid), broker_process(broker)
        self._began_s = [processor_s(each) for each in self._processes]

    def drained(self, name: str, count: int, took_s: float) -> Drained:
        """Return the result of a client that drained `count` messages in `took_s`; it may have ended, but is not reaped yet."""
        spent_s = [processor_s(each) - began_s for each, began_s in zip(self._processes, self._began_s, strict=True)]
        client_us, broker_us = (1e6 * each / count for each in spent_s)
        progress(f"{name}: {count / took_s:,.0f} msg/s; µs per message: {client_us:.1f}, broker {broker_us:.1f}")
        return Drained(count / took_s, client_us, broker_us)


def _median(drains: list[Drained]) -> Drained:
    return Drained(
        statistics.median(each.rate for each in drains),
        statistics.median(each.client_us for each in drains),
        statistics.median(each.broker_us for each in drains),
    )


def _compared(name: str, does: str, drained: Drained, sub: Drained) -> Peer:
    return _peer(name, does, drained, drained.rate / sub.rate)


def _peer(name: str, does: str, drained: Drained, ratio: float) -> Peer:
    return Peer(name, does, drained.rate, ratio, drained.client_us, drained.broker_us)


def _queue(broker: RealBroker, count: int) -> None:
    subprocess.run([*_subscribe(broker), "-E"], check=True, timeout=20)
    publish_all(broker.host, broker.port, FLEET, count)


def _subscribe(broker: RealBroker) -> list[str]:
    return ["mosquitto_sub", "-h", broker.host, "-p", str(broker.port), *_SESSION]
