"""An Open Protocol tool end to end: console, controller, adapter, recorder and tool as processes, which may be killed."""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from broker.runtime.settings import ROOT
from tests.adapters.torque.tool_process import Memory
from tests.real_broker import RealBroker, free_ports

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
SCAUP = (sys.executable, "-m", "adapters.cli.main")
TOOL = (sys.executable, "-m", "tests.adapters.torque.tool_process")
KILLS = int(os.environ.get("SCAUP_OPEN_PROTOCOL_KILLS", "3"))
EVENTS = "FROM messages WHERE topic = 'torque/driver-1/event' AND payload->>'$.type' = 'operation'"

DIALOGUE = """\
Please Input a valid serial number:
Sending step #1 to torque driver.
Received 10.09 - In Range

Sending step #2 to torque driver.
Received 14.09 - Out of range.
Please Re-Do

Sending reverse to torque driver.
Received reverse confirmation.

Sending step #2 to torque driver.
Received 13.15 - In Range

Sending step #3 to torque driver.
Received 14.01 - In Range

Job Complete:
Step 1: 10.09
Step 2: 13.15
Step 3: 14.01
"""


class Bench:
    """A tool and what records it."""

    def __init__(self, broker: RealBroker, *options: str) -> None:
        self._broker, self._options = broker, options
        self._port = free_ports(1)[0]
        self._path = broker.data_dir / f"tool-{self._port}.jsonl"
        self.memory = Memory(self._path)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        command = [*TOOL, str(self._port), str(self._path), *self._options] if name == "tool" else [*SCAUP, "run", name]
        environment = {**self._broker.environment, "SCAUP_TORQUE_DRIVER_URL": f"openprotocol://127.0.0.1:{self._port}"}
        with (self._broker.data_dir / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=log)

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait(10)

    def stop(self) -> None:
        self.processes["tool"].kill()
        others = [each for name, each in self.processes.items() if name != "tool"]
        for each in others:
            each.terminate()
        assert [each.wait(20) for each in others] == [0] * len(others)
        self.processes["tool"].wait(10)

    def scaup(self, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*SCAUP, *arguments],
            env=self._broker.environment,
            cwd=ROOT,
            input=typed,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def query(self, sql: str) -> list[dict[str, Any]]:
        answer = self.scaup("query", "-o", "json", sql)
        assert answer.returncode == 0, answer.stderr
        rows: list[dict[str, Any]] = json.loads(answer.stdout)
        return rows


def until(condition: Callable[[], object], what: str, timeout_s: float = 30) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.05)


@contextmanager
def bench(broker: RealBroker, *options: str, names: tuple[str, ...]) -> Iterator[Bench]:
    running = Bench(broker, *options)
    try:
        for name in ("tool", *names):
            running.start(name)
        until(lambda: running.scaup("status", *names).returncode == 0, "not healthy")
        yield running
    finally:
        running.stop()


def test_a_job_with_a_tool(own_broker: RealBroker) -> None:
    with bench(
        own_broker, "--torques", "10.09,14.09,13.15,14.01", names=("recorder", "fastening", "torque-adapter")
    ) as running:
        until(lambda: running.query("SELECT 1 FROM messages WHERE topic = 'torque/driver-1/link'"), "no link")
        done = running.scaup("torque", "run", typed="RP-000123\n")
        assert (done.stdout, done.returncode) == (DIALOGUE, 0), done.stderr
        until(lambda: running.memory.ids("acknowledged") == [1, 2, 3, 4, 5], "not acknowledged")
        values = running.query("SELECT step, torque_nm FROM fastening WHERE serial = 'RP-000123' ORDER BY step")
        assert [tuple(each.values()) for each in values] == [(1, 10.09), (2, 13.15), (3, 14.01)]


def test_every_result_once_over_kills(own_broker: RealBroker) -> None:
    with bench(own_broker, "--every", "0.1", names=("recorder", "torque-adapter")) as running:
        until(lambda: len(running.memory.ids("acknowledged")) >= 3, "nothing was acknowledged")
        for name in itertools.islice(itertools.cycle(("torque-adapter", "recorder", "tool")), KILLS):
            before = len(running.memory.ids("acknowledged"))
            running.kill(name)
            time.sleep(0.1)
            running.start(name)
            until(lambda: len(running.memory.ids("acknowledged")) > before + 3, f"nothing goes on after {name}")  # noqa: B023
        until(lambda: running.scaup("status", "recorder", "torque-adapter").returncode == 0, "not healthy")
        made = running.memory.ids("made")
        until(lambda: set(made) <= set(running.memory.ids("acknowledged")) | fetched(running), "not recorded")
        numbers = f"SELECT (payload->>'$.data.tighteningId')::BIGINT AS id {EVENTS} ORDER BY number"
        assert [each["id"] for each in running.query(numbers) if each["id"] <= made[-1]] == made


def fetched(running: Bench) -> set[int]:
    """Return the results that the recorder has because they were asked for: a tool does not learn that."""
    sql = f"SELECT (payload->>'$.data.tighteningId')::BIGINT AS id {EVENTS} AND payload->>'$.data.fetched' = 'true'"
    return {each["id"] for each in running.query(sql)}
