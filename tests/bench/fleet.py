"""Measure what many homes cost one machine: `python -m tests.bench.fleet`, about four minutes.

First the traffic of heated homes, as real as here can be: simulated rooms with five sensors each, the heating controller,
broker and recorder; counted are messages by kind, their bytes in the database and in a backup (Parquet), and processor time.
Then the memory of a broker with one connection for each home.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from broker.runtime.settings import ROOT
from tests.bench.backup import backed_up
from tests.bench.figures import Figure, progress, table
from tests.bench.recorder_operator import Operator
from tests.bench.recorder_world import broker_process, processor_s, running_broker, running_recorder
from tests.real_broker import RealBroker

ROOMS, TIME_SCALE = 400, 20
"""At this scale a room sends a plant minute's messages every three seconds."""
SETTLE_S, MEASURED_S = 60.0, 60.0
HOMES = 7_500
"""A listener takes 8,000 connections (mosquitto.conf)."""
_CONNECT = bytes([0x10, 16, 0, 4, *b"MQTT", 4, 2, 0, 60, 0, 4])

_KINDS = """
SELECT regexp_replace(regexp_replace(topic, 'room-[0-9]+', '{room}'), '^(components|storage)/.*', '\\1') AS kind, count(*) AS n,
    avg(octet_length(encode(payload))) AS bytes FROM messages GROUP BY kind ORDER BY n DESC LIMIT 6
"""


def heated(folder: Path) -> list[Figure]:
    """Heat rooms, faster than in life, and measure."""
    with running_broker() as broker, running_recorder(broker) as recorder, Operator(broker) as operator, ExitStack() as stack:
        operator.wait_until_online()
        heating = stack.enter_context(_component(broker, "heating"))
        stack.enter_context(_component(broker, "sim-rooms", "--rooms", str(ROOMS)))
        time.sleep(SETTLE_S)
        programs = {"heating": heating, "recorder": psutil.Process(recorder.pid), "broker": broker_process(broker)}
        spent = {name: processor_s(each) for name, each in programs.items()}
        count, began_s = operator.scalar("SELECT max(number) AS n FROM messages"), time.monotonic()
        time.sleep(MEASURED_S)
        messages, took_s = operator.scalar("SELECT max(number) AS n FROM messages") - count, time.monotonic() - began_s
        spent = {name: processor_s(each) - spent[name] for name, each in programs.items()}
        kinds, _ = operator.ask(_KINDS)
        _, (number, written_mb), _ = backed_up(broker, folder)
        sizes = {path.suffix: path.stat().st_size for path in broker.data_dir.glob("scaup.duckdb*")}
    progress(f"kinds of messages: {kinds}")
    return [
        Figure("heated rooms: messages recorded", messages / took_s, "msg/s"),
        Figure("heated rooms: messages a room and plant minute", messages / took_s * 60 / TIME_SCALE / ROOMS),
        *(Figure(f"heated rooms: processor, {name}", 1e6 * each / messages, "µs/msg") for name, each in spent.items()),
        Figure("heated rooms: bytes a message in the database and its log", sum(sizes.values()) / number, "bytes"),
        Figure("heated rooms: bytes a message in Parquet", 1e6 * written_mb / number, "bytes"),
    ]


def connected() -> list[Figure]:
    """Connect one client for each home, and look at the broker."""
    with running_broker() as broker, ExitStack() as stack:
        process = broker_process(broker)
        before, began_s = process.memory_info().rss, time.monotonic()
        for number in range(HOMES):
            client = stack.enter_context(socket.create_connection((broker.host, broker.port), 10))
            client.sendall(_CONNECT + b"%04x" % number)
            if client.recv(4, socket.MSG_WAITALL) != b"\x20\x02\x00\x00":
                raise ConnectionError("the broker refused a home")
        took_s = time.monotonic() - began_s
        memory = process.memory_info().rss - before
        spent_s = processor_s(process)
        time.sleep(10)
        idle_s = processor_s(process) - spent_s
    return [
        Figure("connections", HOMES),
        Figure("connections: accepted", HOMES / took_s, "a second"),
        Figure("connections: memory of the broker for each", memory / HOMES / 1024, "KiB"),
        Figure("connections: processor time of the broker, idle", 10 * idle_s, "% of a core"),
    ]


@contextmanager
def _component(broker: RealBroker, name: str, *arguments: str) -> Iterator[psutil.Process]:
    environment = {**broker.environment, "SCAUP_TIME_SCALE": str(TIME_SCALE)}
    command = [sys.executable, "-m", "adapters.cli.main", "run", name, *arguments]
    running = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield psutil.Process(running.pid)
    finally:
        running.terminate()
        running.wait(30)


def main() -> None:
    """Run the bench."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="scaup-bench-") as folder:
        figures = [*heated(Path(folder, "backup")), *connected()]
    print(table(("figure", "target", "measured", "reached"), [each.row for each in figures]))
    print(f"\n{os.cpu_count()} processors, load before: {load:.1f}")


if __name__ == "__main__":
    main()
