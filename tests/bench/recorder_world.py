"""The real broker, the real recorder and its peers, each started for one measurement and stopped by its own pid."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

import psutil

from broker.runtime.settings import ROOT
from tests import real_broker
from tests.real_broker import RealBroker

T = TypeVar("T")

PATIENCE_S = 120.0
_SAVED_S = 2.2
"""Longer than the broker's autosave interval: after such a pause the next save is due at once, for every client alike."""

os.environ["SCAUP_TEST_BROKER"] = "local"


@contextmanager
def running_broker() -> Iterator[RealBroker]:
    """Run Mosquitto with the shipped configuration, on free ports and with an empty directory."""
    with tempfile.TemporaryDirectory(prefix="scaup-bench-") as folder:
        broker = real_broker.create(Path(folder))
        try:
            broker.start()
            yield broker
        finally:
            real_broker.remove(broker)


def broker_process(broker: RealBroker) -> psutil.Process:
    """Return the process of a broker that this process started."""
    configured = str(broker.data_dir)
    mosquittos = [each for each in psutil.Process().children() if each.name() == "mosquitto" and each.cwd() == configured]
    return mosquittos[0]


class Recorder:
    """The recorder as `make up` runs it, in its own process."""

    def __init__(self, broker: RealBroker) -> None:
        self._broker = broker
        with (broker.data_dir / "recorder.log").open("ab") as log:
            self._running = subprocess.Popen([sys.executable, "-m", "storage"], cwd=ROOT, env=broker.environment, stderr=log)
        self.pid = self._running.pid

    def stop(self) -> None:
        """Stop it as `make down` does, and wait."""
        self._running.terminate()
        self._reap()

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        self._running.kill()
        self._reap()

    def _reap(self) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._running.wait(30)


@contextmanager
def running_recorder(broker: RealBroker) -> Iterator[Recorder]:
    """Start the recorder; it is not online yet."""
    recorder = Recorder(broker)
    try:
        yield recorder
        recorder.stop()
    finally:
        recorder.kill()


class Job(Generic[T]):
    """One function in its own interpreter."""

    def __init__(self, target: Callable[..., T], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._receiving, sending = context.Pipe(duplex=False)
        self._process = context.Process(target=_report, args=(sending, target, arguments), daemon=True)
        self._process.start()
        sending.close()
        self.pid = self._process.pid or 0

    @property
    def done(self) -> bool:
        """Whether there is a result, or the process has ended."""
        return self._receiving.poll()

    def result(self) -> T:
        """Wait for the result.

        Raises:
            EOFError: the process ended without one; its error is on standard error.
        """
        if not self._receiving.poll(2 * PATIENCE_S):
            raise TimeoutError("a process of the bench does not end")
        result: T = self._receiving.recv()
        return result

    def wait(self) -> None:
        """Wait until the process has ended, with a result or without."""
        self._process.join(2 * PATIENCE_S)

    def __enter__(self) -> "Job[T]":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join(10)


def _report(sending: Any, target: Callable[..., T], arguments: tuple[Any, ...]) -> None:
    sending.send(target(*arguments))


class Gate:
    """Suspends the broker while a client starts, and resumes it when the client's connections wait for it.

    So the time before CONNECT, mostly the start of an interpreter, counts for no client.
    """

    def __init__(self, broker: RealBroker) -> None:
        self._port = broker.port
        self._process = broker_process(broker)

    def __enter__(self) -> "Gate":
        self._process.suspend()
        self._stopped_s = time.monotonic()
        return self

    def open(self, pid: int, connections: int = 1) -> float:
        """Wait for the connections of a process, resume the broker, and return the time (s of the monotonic clock)."""
        until_connected(pid, self._port, connections)
        time.sleep(max(0.0, self._stopped_s + _SAVED_S - time.monotonic()))
        self._process.resume()
        return time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._process.resume()


def until_connected(pid: int, port: int, connections: int) -> None:
    """Wait until a process has opened so many connections to the broker, whether that answers or not."""
    deadline_s = time.monotonic() + 20
    while _connections(pid, port) < connections:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"process {pid} does not connect to port {port}")
        time.sleep(0.02)


def _connections(pid: int, port: int) -> int:
    return sum(bool(each.raddr) and each.raddr.port == port for each in psutil.Process(pid).net_connections("tcp"))


def processor_s(process: psutil.Process) -> float:
    """Return the processor time that a process has used, in seconds."""
    times = process.cpu_times()
    return times.user + times.system
