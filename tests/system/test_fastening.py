"""Fastening end to end: console, controller, adapter and recorder as processes, with an independent driver."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from broker.runtime.settings import ROOT
from tests import real_broker
from tests.real_broker import RealBroker
from tests.system.independent_driver import REVERSED, Answer, IndependentDriver, driver, forward, good, scripted

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
SCAUP = (sys.executable, "-m", "adapters.cli.main")
STEPS = {1: 10.0, 2: 13.0, 3: 14.0}
"""Part 10-00045 B of RP-000120 to RP-000124."""

DIALOGUE = """\
Please Input a valid serial number:
Please Input a valid serial number:
Sending step #1 to torque driver.
Received 10.098 - In Range

Sending step #2 to torque driver.
Received 14.091 - Out of range.
Please Re-Do

Sending reverse to torque driver.
Received reverse confirmation.

Sending step #2 to torque driver.
Received 13.15 - In Range

Sending step #3 to torque driver.
Received 14.01 - In Range

Job Complete:
Step 1: 10.098
Step 2: 13.15
Step 3: 14.01
"""


class Line:
    """A running system with one driver."""

    def __init__(self, broker: RealBroker, torque_driver: IndependentDriver) -> None:
        self.broker, self.driver = broker, torque_driver
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.consoles: list[subprocess.Popen[str]] = []

    def run(self, name: str) -> None:
        environment = {**self.broker.environment, "SCAUP_TORQUE_DRIVER_URL": self.driver.url, "SCAUP_TORQUE_TIMEOUT_S": "2"}
        with (self.broker.data_dir / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen([*SCAUP, "run", name], env=environment, cwd=ROOT, stderr=log)

    def kill(self, name: str) -> None:
        process = self.processes[name]
        process.kill()
        process.wait(10)

    def scaup(self, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        command = [*SCAUP, *arguments]
        return subprocess.run(
            command, env=self.broker.environment, cwd=ROOT, input=typed, capture_output=True, text=True, timeout=60
        )

    def console(self, serial: str) -> "subprocess.Popen[str]":
        command = [*SCAUP, "torque", "run", "--serial", serial]
        console = subprocess.Popen(
            command, env=self.broker.environment, cwd=ROOT, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.consoles.append(console)
        return console

    def query(self, sql: str) -> list[dict[str, Any]]:
        answer = self.scaup("query", "-o", "json", sql)
        assert answer.returncode == 0, answer.stderr
        rows: list[dict[str, Any]] = json.loads(answer.stdout)
        return rows

    def stored(self, serial: str) -> dict[int, float]:
        rows = self.query(f"SELECT step, torque_nm FROM fastening WHERE serial = '{serial}'")
        assert len({row["step"] for row in rows}) == len(rows), "two current values for a step"
        return {row["step"]: row["torque_nm"] for row in rows}

    def recorded_event(self, text: str) -> bool:
        return bool(self.query(f"SELECT 1 FROM messages WHERE topic = 'fastening/driver-1/event' AND payload LIKE '%{text}%'"))


def until(condition: Callable[[], object], what: str, timeout_s: float = 30) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.02)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealBroker]:
    created = real_broker.create(tmp_path_factory.mktemp("fastening"))
    try:
        created.start()
        yield created
    finally:
        real_broker.remove(created)


@contextmanager
def line(broker: RealBroker, answer: Answer) -> Iterator[Line]:
    names = ("recorder", "fastening", "torque-adapter")
    with ExitStack() as stack:
        running = Line(broker, stack.enter_context(driver(answer)))
        try:
            for name in names:
                running.run(name)
            until(lambda: running.scaup("status", *names).returncode == 0, "not healthy")
            until(lambda: running.driver.connections, "not connected")
            yield running
        finally:
            for console in running.consoles:
                console.kill()
                console.communicate()
            for process in running.processes.values():
                process.terminate()
            assert [process.wait(20) for process in running.processes.values()] == [0] * len(names)


def test_the_dialogue_through_a_pipe(recording: RealBroker) -> None:
    with line(recording, scripted(10.098, 14.091, 13.15, 14.01)) as running:
        done = running.scaup("torque", "run", typed="RP-999999\nRP-000123\n")
        assert done.stdout == DIALOGUE
        assert done.returncode == 0, done.stderr
        assert "RP-999999 does not exist" in done.stderr
        assert running.driver.set_to == ["10.0", "13.0", "reverse", "13.0", "14.0", "reset"]
        assert running.stored("RP-000123") == {1: 10.098, 2: 13.15, 3: 14.01}
        history = running.query("SELECT step, torque_nm, void FROM fastening_event WHERE torque_nm IS NOT NULL ORDER BY number")
        values = [(1, 10.098, False), (2, 14.091, True), (2, 13.15, False), (3, 14.01, False)]
        assert [tuple(each.values()) for each in history] == values
        results = running.scaup("torque", "results", "RP-000123")
        assert [json.loads(row)["torque_nm"] for row in results.stdout.splitlines()] == [10.098, 13.15, 14.01]
        nothing = running.scaup("torque", "results", "RP-000101")
        assert (nothing.returncode, nothing.stdout) == (1, "")
        assert "RP-000101" in nothing.stderr
        assert '"RP-000123"' in running.scaup("torque", "serials").stdout
        assert running.scaup("verify").returncode == 0


@pytest.mark.parametrize("state", ["fastening", "reversing", "paused", "paused out of range", "complete", "cancelled"])
def test_a_controller_killed_in_any_state(recording: RealBroker, state: str) -> None:
    """The job continues from the retained state. In the end each step has one current value, none of a loosened screw."""
    serial = "RP-000120"
    wrong = "out of range" in state or state == "reversing"
    first: Answer = lambda message: [forward(20.0, 10.0)] if wrong and message.get("data", {}).get("value") == 10.0 else []  # noqa: E731
    with line(recording, good if state == "complete" else first) as running:
        console = running.console(serial)
        if state == "complete":
            assert console.wait(30) == 0
        else:
            until(lambda: "reverse" in running.driver.set_to if wrong else "10.0" in running.driver.set_to, "nothing was set")
        if "paused" in state:
            console.send_signal(signal.SIGINT)
            assert console.wait(30) == 130
        elif state == "cancelled":
            assert running.scaup("torque", "cancel").returncode == 0
            assert console.wait(30) == 1
        running.kill("fastening")
        running.driver.answer = good
        running.run("fastening")
        until(lambda: running.scaup("status", "fastening").returncode == 0, "not back")
        if state in ("fastening", "reversing"):
            assert console.wait(30) == 0
        else:
            assert running.scaup("torque", "run", "--serial", serial).returncode == 0
        assert running.stored(serial) == STEPS
        assert [row["in_range"] for row in running.query(f"SELECT in_range FROM fastening WHERE serial = '{serial}'")] == [
            True
        ] * 3


def test_the_next_console_continues_for_a_killed_one(recording: RealBroker) -> None:
    with line(recording, scripted(10.0)) as running:
        console = running.console("RP-000121")
        until(lambda: running.driver.set_to[-1:] == ["13.0"], "step 2 was not set")
        second = running.scaup("torque", "run", "--serial", "RP-000122")
        assert second.returncode == 4
        assert f":{console.pid}" in second.stderr, "the holder is not named"
        os.kill(console.pid, signal.SIGKILL)
        console.communicate()
        running.driver.answer = good
        done = running.scaup("torque", "run", "--serial", "RP-000121")
        assert done.returncode == 0, done.stderr
        assert "step #1" not in done.stdout
        assert running.stored("RP-000121") == STEPS


def test_a_driver_that_disconnects_during_a_step(recording: RealBroker) -> None:
    with line(recording, lambda message: []) as running:
        console = running.console("RP-000122")
        until(lambda: running.driver.set_to[-1:] == ["10.0"], "step 1 was not set")
        running.driver.answer = good
        running.driver.connections[-1].close_socket()
        _, stderr = console.communicate(timeout=30)
        assert console.returncode == 0, stderr
        assert running.stored("RP-000122") == STEPS
        assert "not connected" in stderr or "away" in stderr or "connection" in stderr


def test_a_silent_driver_at_the_end_of_input(recording: RealBroker) -> None:
    with line(recording, lambda message: []) as running:
        done = running.scaup("torque", "run", typed="RP-000123\n")
        assert done.returncode == 1
        assert "scaup torque run --serial RP-000123" in done.stderr
        assert running.driver.set_to[-2:] == ["10.0", "reset"]
        running.driver.answer = good
        retried = running.scaup("torque", "run", typed="RP-000123\nr\n")
        assert retried.returncode == 0, retried.stderr


def test_unusable_answer_is_shown_and_in_the_history(recording: RealBroker) -> None:
    answer = '{"type":"operation","data":{"direction":"forward","currentValue":"4.2","configuredValue":10}}'
    with line(recording, lambda message: [answer] if good(message) else []) as running:
        done = running.scaup("torque", "run", typed="RP-000123\n")
        assert done.returncode == 1
        assert f"cannot be used: wrong shape: Expected `int | float`, got `str` - at `$.currentValue`: {answer}" in done.stderr
        assert "No usable answer for" in done.stderr
        assert "has not answered" not in done.stderr
        history = running.query("SELECT event, reason FROM fastening_event WHERE serial = 'RP-000123' AND reason IS NOT NULL")
        assert {row["event"] for row in history if answer in row["reason"]} == {"unusable answer", "driver silent"}


def test_bad_frames_are_recorded_and_harmless(recording: RealBroker) -> None:
    def noisy(message: dict[str, Any]) -> list[Any]:
        answers = good(message)
        stray = [forward(99.0, 99.0), forward(10.0, 10.001)] if answers and answers[0] is not REVERSED else []
        return ["not JSON", b"\xff\x00", "", '{"type":"news"}', "[1,2]", *stray[:1], *answers, *answers]

    with line(recording, noisy) as running:
        done = running.scaup("torque", "run", typed="RP-000124\n")
        assert done.returncode == 0, done.stderr
        assert running.stored("RP-000124") == STEPS
        rejected = running.query("SELECT DISTINCT payload FROM rejected_message WHERE component = 'fastening'")
        assert {row["payload"] for row in rejected} >= {"not JSON", "[1,2]"}


def test_a_screw_loosened_while_the_controller_is_dead(recording: RealBroker) -> None:
    with line(recording, scripted(6.0)) as running:
        console = running.console("RP-000119")
        until(lambda: running.driver.set_to[-1:] == ["8.5"], "step 2 was not set")
        running.kill("fastening")
        running.driver.send(REVERSED)
        running.driver.answer = good
        running.run("fastening")
        assert console.wait(30) == 0
        assert console.stdout
        assert console.stdout.read().count("Sending step #1") == 2
        assert running.query("SELECT count(*) AS n FROM fastening_event WHERE serial = 'RP-000119' AND void") == [{"n": 1}]
