"""Response times of the machine API: `python -m tests.bench.machine_api` (needs `mosquitto`, and `wrk` for its second part).

The API runs in its own process on a real broker, a second process sends requests, and meanwhile readings of 100 machines
arrive at 100 a second. First 2,000 GET /data a second for 30 s, evenly: a request's time counts from when it was due, so that a
stall is seen by every request that it delays. Then `wrk`, which sends requests as fast as they are answered.
"""

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import paho.mqtt.client as paho
import psutil
from paho.mqtt.enums import CallbackAPIVersion

from broker.runtime.settings import ROOT
from tests.bench.figures import Figure, at_least, below, exactly, progress, table
from tests.bench.recorder_world import processor_s, running_broker
from tests.real_broker import RealBroker, free_ports

PER_S = 2_000
DURATION_S, QUICK_S = 30.0, 3.0
CONNECTIONS = 32
READINGS_PER_S = 100
MACHINES = 100
START_TIMEOUT_S = 20.0
_REQUEST = b"GET /data HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements of the paced client."""

    answered: int
    errors: int
    took_s: float
    times_ms: list[float]
    """Sorted."""

    def percentile_ms(self, share: float) -> float:
        """Return the time that this share of requests did not exceed."""
        return self.times_ms[min(len(self.times_ms) - 1, int(share * len(self.times_ms)))]


def main() -> int:
    """Run the bench."""
    parser = argparse.ArgumentParser(description="Measure the machine API.")
    parser.add_argument("--quick", action="store_true", help="3 s each: to see whether the bench works")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a figure is not reached")
    arguments = parser.parse_args()
    duration_s, load = QUICK_S if arguments.quick else DURATION_S, os.getloadavg()[0]
    with running_broker() as broker, running_api(broker) as (process, port), traffic(broker):
        wait_for_data(port)
        progress(f"{PER_S} GET /data a second for {duration_s:g} s")
        figures = paced(process, port, duration_s)
        progress("as fast as possible")
        figures += fastest(process, port, duration_s)
    print(table(("figure", "target", "measured", "reached"), [each.row for each in figures]))
    print(f"\n{os.cpu_count()} processors, load before: {load:.1f}")
    return 1 if arguments.strict and any(each.missed for each in figures) else 0


def paced(process: psutil.Process, port: int, duration_s: float) -> list[Figure]:
    """Send requests evenly, from another process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        before_s, began_s = processor_s(process), time.monotonic()
        measured = pool.apply(request_evenly, (port, duration_s))
        share = (processor_s(process) - before_s) / (time.monotonic() - began_s)
    return [
        Figure("paced: answered per second", measured.answered / measured.took_s, "", at_least(PER_S * 0.99)),
        Figure("paced: errors", measured.errors, "", exactly(0)),
        Figure("paced: p50", measured.percentile_ms(0.5), "ms"),
        Figure("paced: p99", measured.percentile_ms(0.99), "ms", below(50, "ms")),
        Figure("paced: longest", measured.times_ms[-1], "ms"),
        Figure("paced: processor share of the API", 100 * share, "%"),
    ]


def fastest(process: psutil.Process, port: int, duration_s: float) -> list[Figure]:
    """Send requests with wrk, where it is installed."""
    if shutil.which("wrk") is None:
        progress("skipped: apt-get install wrk")
        return []
    before_s, began_s = processor_s(process), time.monotonic()
    url = f"http://127.0.0.1:{port}/data"
    command = ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{duration_s:g}s", "--latency", url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    share = (processor_s(process) - before_s) / (time.monotonic() - began_s)
    return [
        Figure("wrk: answered per second", float(_found(r"Requests/sec:\s+([\d.]+)", output)), "", at_least(PER_S)),
        Figure("wrk: errors", _wrk_errors(output), "", exactly(0)),
        Figure("wrk: p50", _ms(_found(r"50%\s+(\S+)", output)), "ms"),
        Figure("wrk: p99", _ms(_found(r"99%\s+(\S+)", output)), "ms"),
        Figure("wrk: processor share of the API", 100 * share, "%"),
    ]


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"unexpected output of wrk:\n{text}")
    return found[1]


def _ms(text: str) -> float:
    """Read a duration of wrk: 850.00us, 4.20ms, 1.05s."""
    for unit, factor in (("us", 1e-3), ("ms", 1.0), ("s", 1e3)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    raise ValueError(f"{text!r} is not a duration")


def _wrk_errors(text: str) -> int:
    """Sum what wrk counts: socket errors of each kind, and answers that are not 2xx or 3xx."""
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: (.*)", text)
    return int(failed[1] if failed else 0) + sum(map(int, re.findall(r"\d+", broken[1]) if broken else []))


def request_evenly(port: int, duration_s: float) -> Measured:
    """Send requests evenly from this process."""
    return asyncio.run(_request_evenly(port, duration_s))


async def _request_evenly(port: int, duration_s: float) -> Measured:
    """Each of the connections takes every 32nd request."""
    began_s = asyncio.get_running_loop().time() + 0.2
    count = round(PER_S * duration_s)
    dues = [[began_s + number / PER_S for number in range(first, count, CONNECTIONS)] for first in range(CONNECTIONS)]
    results = await asyncio.gather(*(_request_when_due(port, each) for each in dues))
    took_s = asyncio.get_running_loop().time() - began_s
    times_ms = sorted(time_ms for times_ms, _ in results for time_ms in times_ms)
    return Measured(len(times_ms), sum(errors for _, errors in results), took_s, times_ms)


async def _request_when_due(port: int, dues_s: list[float]) -> tuple[list[float], int]:
    """Return the times in ms, and how many answers were not 200."""
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    times_ms, errors = [], 0
    for due_s in dues_s:
        await asyncio.sleep(max(0.0, due_s - loop.time()))
        writer.write(_REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(_found(r"content-length: (\d+)", head.decode())))
        times_ms.append(1000 * (loop.time() - due_s))
        errors += not head.startswith(b"HTTP/1.1 200 ")
    writer.close()
    return times_ms, errors


@contextmanager
def running_api(broker: RealBroker) -> Iterator[tuple[psutil.Process, int]]:
    """Run the API as `make up` does; its process and its port."""
    (port,) = free_ports(1)
    environment = {**broker.environment, "SCAUP_MACHINE_API_PORT": str(port)}
    with (broker.data_dir / "machine-api.log").open("wb") as log:
        running = subprocess.Popen([sys.executable, "-m", "adapters.machine_api"], cwd=ROOT, env=environment, stderr=log)
    try:
        yield psutil.Process(running.pid), port
        running.terminate()
        running.wait(10)
    finally:
        running.kill()
        running.wait(10)


@contextmanager
def traffic(broker: RealBroker) -> Iterator[None]:
    """Publish readings of 100 machines, 100 a second, from a process of its own."""
    publishing = multiprocessing.get_context("spawn").Process(target=publish, args=(broker.host, broker.port), daemon=True)
    publishing.start()
    try:
        yield
    finally:
        publishing.kill()
        publishing.join()


def publish(host: str, port: int) -> None:
    """Publish readings until killed."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect(host, port)
    client.loop_start()
    for number in itertools.count():
        machine = number % MACHINES + 1
        client.publish(f"machines/{machine}/reading", _reading(machine), 1)
        time.sleep(1 / READINGS_PER_S)


def _reading(machine: int) -> str:
    at = datetime.now(UTC).isoformat()
    values = {"temperature": 30.21, "fan_speed": 811.62, "status": "COMPLETED", "timestamp": at}
    return json.dumps({"id": machine, "name": "DELL G450", "description": "Machine for processing ", **values})


def wait_for_data(port: int) -> None:
    """Wait until machine 1 is known.

    Raises:
        TimeoutError: it is not, after 20 s.
    """
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/data", timeout=5):
            return
        time.sleep(0.1)
    raise TimeoutError("the API does not know machine 1")


if __name__ == "__main__":
    sys.exit(main())
