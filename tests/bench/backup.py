"""Measure backups: `python -m tests.bench.backup`. `--quick` makes the database ten times smaller.

A real broker and recorder with some millions of messages in the database, and 5,000 more a second. What a backup takes, what a
second one takes, how long it takes meanwhile from the publication of a reading to an answer that follows its commit, and how
long the restore takes.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.runtime.settings import ROOT
from tests.bench.figures import Figure, progress, quantile, table
from tests.bench.recorder_backlog import Device, Fleet, publish_all, publish_evenly
from tests.bench.recorder_operator import Operator
from tests.bench.recorder_world import Job, running_broker, running_recorder
from tests.real_broker import RealBroker

MESSAGES = 5_000_000
RATE_PER_S = 5_000
LOAD_S = 40.0
QUIET_S = 8.0
SCAUP = (sys.executable, "-m", "adapters.cli.main")


class Probes:
    """Publishes a reading 20 times a second; notes how long it takes until an answer of the recorder has it."""

    def __init__(self, broker: RealBroker, operator: Operator) -> None:
        self._broker, self._operator = broker, operator
        self._ended = threading.Event()
        self.took: list[tuple[float, float]] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Probes":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def between(self, began_s: float, ended_s: float) -> list[float]:
        """Return the times, ms, of the probes that were under way in a span of the monotonic clock."""
        return [1000 * took_s for at_s, took_s in self.took if at_s + took_s >= began_s and at_s <= ended_s]

    def _run(self) -> None:
        device = Device(self._broker.host, self._broker.port)
        number = 1_000_000
        while not self._ended.wait(0.05):
            number += 1
            began_s = time.monotonic()
            device.send(list(Fleet(1, first=0, named_from=number).packets(1)))
            self._operator.ask("SELECT 1 AS one")  # answered after the commit of everything before it
            self.took.append((began_s, time.monotonic() - began_s))


def measure(messages: int, folder: Path) -> list[Figure]:
    """Run it all once."""
    with running_broker() as broker, running_recorder(broker), Operator(broker) as operator:
        operator.wait_until_online()
        publish_all(broker.host, broker.port, Fleet(2_000, prefix="filled-"), messages)
        while operator.scalar("SELECT count(*) FROM messages WHERE starts_with(topic, '/readings/')") < messages:
            time.sleep(1)
        progress(f"{messages:,} messages are recorded")
        with _load(broker), Probes(broker, operator) as probes:
            time.sleep(QUIET_S)
            full_s, full, began_s = backed_up(broker, folder)
            next_s, following, ended_s = backed_up(broker, folder)
            time.sleep(2)
        before, during = probes.between(0, began_s), probes.between(began_s, ended_s + next_s)
        database = sum(path.stat().st_size for path in broker.data_dir.glob("scaup.duckdb*"))
        restored_s = _restore(broker, folder)
    return [
        Figure("messages in the database", full[0]),
        Figure("database file and log", database / 1e6, "MB"),
        Figure("first backup", full_s, "s"),
        Figure("first backup, written", full[1], "MB"),
        Figure("first backup, written a message", 1e6 * full[1] / full[0], "bytes"),
        Figure("second backup", next_s, "s"),
        Figure("second backup, written", following[1], "MB"),
        Figure("publish to answer before the backups, p50", quantile(before, 0.5), "ms"),
        Figure("publish to answer before the backups, worst", max(before), "ms"),
        Figure("publish to answer during the backups, p50", quantile(during, 0.5), "ms"),
        Figure(f"publish to answer during the backups, worst of {len(during)}", max(during), "ms"),
        Figure("restore", restored_s, "s"),
        Figure("restore", full[0] / restored_s, "messages/s"),
    ]


@contextmanager
def _load(broker: RealBroker) -> Iterator[None]:
    with Job(publish_evenly, broker.host, broker.port, Fleet(200), RATE_PER_S, LOAD_S) as job:
        yield
        job.wait()


def backed_up(broker: RealBroker, folder: Path) -> tuple[float, tuple[int, float], float]:
    """Back up; return how long it took (s), the message number and megabytes written, and when it began (monotonic, s)."""
    began_s = time.monotonic()
    done = subprocess.run(
        [*SCAUP, "backup", str(folder)], env=broker.environment, cwd=ROOT, check=True, capture_output=True, text=True
    )
    took_s = time.monotonic() - began_s
    progress(done.stdout.strip())
    found = re.search(r"up to ([\d,]+) .* with ([\d,.]+) (kB|MB) written", done.stdout)
    if found is None:
        raise ValueError(done.stdout)
    return (
        took_s,
        (int(found[1].replace(",", "")), float(found[2].replace(",", "")) / (1 if found[3] == "MB" else 1000)),
        began_s,
    )


def _restore(broker: RealBroker, folder: Path) -> float:
    environment = {**broker.environment, "SCAUP_DATA_DIR": f"{folder}-restored"}
    began_s = time.monotonic()
    subprocess.run([*SCAUP, "restore", str(folder)], env=environment, cwd=ROOT, check=True, capture_output=True)
    return time.monotonic() - began_s


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description="Measure backup and restore.")
    parser.add_argument("--quick", action="store_true", help="a database that is ten times smaller")
    messages = MESSAGES // 10 if parser.parse_args().quick else MESSAGES
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="scaup-bench-") as folder:
        figures = measure(messages, Path(folder, "backup"))
    print(table(("figure", "target", "measured", "reached"), [each.row for each in figures]))
    print(f"\n{os.cpu_count()} processors, load before: {load:.1f}, {RATE_PER_S:,} messages a second meanwhile")


if __name__ == "__main__":
    main()
