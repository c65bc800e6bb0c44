"""Live traffic: a steady 30,000 messages a second on two shared cores, and the latency of a quiet plant."""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import fmean

import psutil

from tests.bench.figures import Figure, at_least, below, exactly, progress, quantile
from tests.bench.recorder_backlog import Device, Fleet, publish_evenly
from tests.bench.recorder_operator import Operator
from tests.bench.recorder_world import Job, broker_process, processor_s, running_broker, running_recorder
from tests.real_broker import RealBroker

RATE_PER_S = 30_000
PUBLISHERS = 2
SUSTAINED_S = 60.0
QUIET_RATE_PER_S = 100
QUIET_S = 20.0
_ROOMS = 200
_MIB = 1024 * 1024
_RECORDED = """
SELECT count(*) AS rows, count(DISTINCT (room, sensor, celsius)) AS readings, (SELECT count(*) FROM messages
    WHERE starts_with(topic, '/readings/')) AS messages FROM room_temperature
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the processes: seconds of the monotonic clock, resident bytes of the recorder, seconds of processor time."""

    at_s: float
    resident_bytes: int
    broker_s: float
    recorder_s: float
    publishers_s: float


def sustained(scale: float) -> list[Figure]:
    """Publish evenly from processes of their own, and look at everybody each second."""
    duration_s = SUSTAINED_S * scale
    count = round(RATE_PER_S / PUBLISHERS * duration_s)
    with running_broker() as broker, running_recorder(broker) as recorder, Operator(broker) as operator, ExitStack() as stack:
        operator.wait_until_online()
        fleets = [Fleet(_ROOMS, first=number * count) for number in range(PUBLISHERS)]
        jobs = [stack.enter_context(_publisher(broker, fleet, duration_s)) for fleet in fleets]
        samples = _watch(jobs, [broker_process(broker).pid, recorder.pid])
        published = [job.result() for job in jobs]
        stats = operator.stats[-1]
        rows, _ = operator.ask(_RECORDED)
        behind_s = time.monotonic() - max(ended_s for _, ended_s in published)
    rate_per_s = sum(count / (ended_s - began_s) for began_s, ended_s in published)
    return [
        Figure("sustained: rate that was reached", rate_per_s, "msg/s", at_least(0.99 * RATE_PER_S, "msg/s")),
        Figure("sustained: rows in messages", rows[0]["messages"], "", exactly(PUBLISHERS * count)),
        Figure("sustained: rows in room_temperature", rows[0]["rows"], "", exactly(PUBLISHERS * count)),
        Figure("sustained: distinct readings", rows[0]["readings"], "", exactly(PUBLISHERS * count)),
        Figure("sustained: commit p50", 1000 * stats["commit_p50_s"], "ms"),
        Figure("sustained: commit p99", 1000 * stats["commit_p99_s"], "ms", below(250, "ms")),
        Figure("sustained: all of it counted by a query, after the last PUBACK", behind_s, "s"),
        *_memory(samples),
        *_shares(samples),
    ]


def _publisher(broker: RealBroker, fleet: Fleet, duration_s: float) -> "Job[tuple[float, float]]":
    return Job(publish_evenly, broker.host, broker.port, fleet, RATE_PER_S / PUBLISHERS, duration_s)


def _watch(jobs: "list[Job[tuple[float, float]]]", pids: list[int]) -> list[Sample]:
    broker, recorder, *publishers = (psutil.Process(pid) for pid in [*pids, *(job.pid for job in jobs)])
    samples: list[Sample] = []
    while not any(job.done for job in jobs):
        spent_s = sum(map(processor_s, publishers))
        resident = recorder.memory_info().rss
        samples.append(Sample(time.monotonic(), resident, processor_s(broker), processor_s(recorder), spent_s))
        if len(samples) % 10 == 0:
            progress(f"sustained: {len(samples)} s, recorder has {resident / _MIB:,.0f} MiB")
        time.sleep(1)
    return samples


def _memory(samples: list[Sample]) -> list[Figure]:
    third = max(1, len(samples) // 3)
    resident = [each.resident_bytes / _MIB for each in samples]
    first, last = fmean(resident[:third]), fmean(resident[-third:])
    return [
        Figure("sustained: memory of the recorder, first third", first, "MiB"),
        Figure("sustained: memory of the recorder, last third", last, "MiB"),
        Figure("sustained: most memory of the recorder", max(resident), "MiB"),
        Figure("sustained: growth of memory, middle to last third", last / fmean(resident[third:-third] or resident), "×"),
    ]


def _shares(samples: list[Sample]) -> list[Figure]:
    first, last = samples[min(1, len(samples) - 1)], samples[-1]
    took_s = max(last.at_s - first.at_s, 1e-9)
    spent = {
        "broker": last.broker_s - first.broker_s,
        "recorder": last.recorder_s - first.recorder_s,
        "publishers": last.publishers_s - first.publishers_s,
    }
    return [Figure(f"sustained: processor, {name}", 100 * each / took_s, "% of a core") for name, each in spent.items()]


def latency(scale: float) -> list[Figure]:
    """Query single readings right after they were published, while the plant sends a hundred messages a second."""
    duration_s = QUIET_S * max(scale, 0.2)
    with running_broker() as broker, running_recorder(broker), Operator(broker) as operator:
        operator.wait_until_online()
        probes_s: list[float] = []
        with Job(publish_evenly, broker.host, broker.port, Fleet(20), QUIET_RATE_PER_S, duration_s) as job:
            device = Device(broker.host, broker.port)
            while not job.done:
                probes_s.append(_probe(device, operator, len(probes_s)))
                time.sleep(0.1)
            time.sleep(1.2)  # for the last storage/stats
            stats = operator.stats[-1]
    return [
        Figure("latency: arrival to commit, p50 (storage/stats)", 1000 * stats["commit_p50_s"], "ms"),
        Figure("latency: arrival to commit, p99 (storage/stats)", 1000 * stats["commit_p99_s"], "ms", below(100, "ms")),
        Figure("latency: publish to row in an answer, p50", 1000 * quantile(probes_s, 0.5), "ms"),
        Figure("latency: publish to row in an answer, p99", 1000 * quantile(probes_s, 0.99), "ms", below(100, "ms")),
        Figure(f"latency: publish to row in an answer, max of {len(probes_s)}", 1000 * max(probes_s), "ms"),
    ]


def _probe(device: Device, operator: Operator, number: int) -> float:
    """Publish a reading of a new room; return the seconds until an answer of the recorder has it."""
    room = 1_000_000 + number
    began_s = time.monotonic()
    device.send(list(Fleet(1, first=0, named_from=room).packets(1)))
    device.flush()
    rows, _ = operator.ask("SELECT count(*) AS n FROM room_temperature WHERE room = $room", {"room": f"room-{room}"})
    took_s = time.monotonic() - began_s
    if rows[0]["n"] != 1:
        raise AssertionError(f"the recorder answered before it had room-{room}")
    return took_s
