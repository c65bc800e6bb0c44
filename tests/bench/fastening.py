"""Latency of a tightening: `python -m tests.bench.fastening [--screws 200]`. Exit 1 where a target of the spec is missed.

Real broker, recorder, controller, adapter and console as processes; the driver is none of ours and lives in this one. Each
screw's operation is sent once the machine has been idle for a moment. Measured, each from the driver's `send`: the line of the
console in a pipe, and the row in `fastening` (polled over MQTT: the time of the answer is included).
"""

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import click

from adapters.client.answers import arrow_request
from adapters.client.session import Session, rows_of
from tests import real_broker
from tests.bench.figures import Figure, below, quantile, table
from tests.system.independent_driver import forward
from tests.system.test_fastening import SCAUP, Line, line

SERIAL = "BENCH-1"
PAUSE_S = 0.05
CONSOLE_TARGET_S, VISIBLE_TARGET_S = 0.050, 0.100


class Operator:
    """Fastens each screw a moment after it was set, and notes when."""

    def __init__(self) -> None:
        self.sent_at_s: list[float] = []
        self.line: Line

    def answer(self, message: dict[str, Any]) -> list[Any]:
        setting = message.get("data", {})
        if setting.get("direction") == "forward":
            threading.Timer(PAUSE_S, self._fasten, [setting["value"]]).start()
        return []

    def _fasten(self, torque_nm: float) -> None:
        self.sent_at_s.append(time.perf_counter())
        self.line.driver.send(forward(torque_nm, torque_nm))


def write_catalog(folder: Path, screws: int) -> None:
    """Write a catalog with one long part; no two steps that follow each other want the same torque."""
    torque = {"target": 10.0, "min": 9.5, "max": 10.5}
    steps = [{"partId": 1, "step": n, "torque": {**torque, "target": 10.0 + n % 5 / 10}} for n in range(1, screws + 1)]
    files = {
        "serials": [{"serialNumber": SERIAL, "partId": 1}],
        "parts": [{"partId": 1, "partNumber": "10-1", "revision": "A"}],
        "steps": steps,
    }
    for name, rows in files.items():
        (folder / f"{name}.json").write_text(json.dumps(rows))


def console_lines(running: Line) -> list[float]:
    """Run a job to its end; return when the console printed each received torque."""
    command = [*SCAUP, "torque", "run", "--serial", SERIAL]
    with subprocess.Popen(command, env=running.broker.environment, stdout=subprocess.PIPE, text=True) as console:
        assert console.stdout
        return [time.perf_counter() for text in console.stdout if text.startswith("Received")]


def rows_seen(running: Line, screws: int) -> list[float]:
    """Repeat a job; return when the row of each step was first seen."""
    session = Session()
    session.settings = running.broker.settings
    known = "SELECT count(*) AS n FROM fastening_event WHERE torque_nm IS NOT NULL"
    before = int(rows_of(session, known)[0]["n"])
    seen: list[float] = []
    command = [*SCAUP, "torque", "run", "--serial", SERIAL]
    with session.source() as recorder, subprocess.Popen(command, env=running.broker.environment, stdout=subprocess.DEVNULL):
        while len(seen) < screws:
            ((n,),) = recorder.query(arrow_request(known, {})).rows.rows()
            seen += [time.perf_counter()] * (n - before - len(seen))
            time.sleep(0.002)
    return seen


def delays_ms(sent_at_s: list[float], seen_at_s: list[float]) -> list[float]:
    """Return how long each took, in ms."""
    return [1000 * (seen - sent) for sent, seen in zip(sent_at_s, seen_at_s, strict=True)]


def figures(what: str, delays: list[float], target_s: float) -> list[Figure]:
    """Return median and 99th percentile of delays, ms."""
    median = Figure(f"{what}, median", statistics.median(delays), "ms", below(1000 * target_s, "ms"))
    return [median, Figure(f"{what}, p99", quantile(delays, 0.99), "ms")]


@click.command()
@click.option("--screws", default=200, show_default=True, help="How many screws are fastened in each of two jobs.")
def main(screws: int) -> None:
    """Measure a tightening's way to the console and into the database."""
    operator = Operator()
    with tempfile.TemporaryDirectory() as folder:
        write_catalog(Path(folder), screws)
        broker = real_broker.create(Path(folder) / "var")
        broker.settings.environment["SCAUP_TORQUE_CATALOG"] = folder  # type: ignore[index]
        try:
            broker.start()
            with line(broker, operator.answer) as running:
                operator.line = running
                seen_at_s = console_lines(running)
                console = delays_ms(operator.sent_at_s, seen_at_s)
                operator.sent_at_s.clear()
                seen_at_s = rows_seen(running, screws)
                visible = delays_ms(operator.sent_at_s, seen_at_s)
        finally:
            real_broker.remove(broker)
    measured = [
        *figures("driver → console", console, CONSOLE_TARGET_S),
        *figures("driver → row in fastening", visible, VISIBLE_TARGET_S),
    ]
    print(table(("figure", "target", "measured", "reached"), [each.row for each in measured]))
    sys.exit(any(each.missed for each in measured))


if __name__ == "__main__":
    main()
