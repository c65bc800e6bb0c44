"""A process of the crash test: started, frozen, killed and stopped by its own id."""

import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.errors import Broken

STOP_S = 30.0
"""Time for a clean stop."""


@dataclass
class Child:
    """A process that can be started repeatedly; its standard error is appended to `log_file`."""

    command: Sequence[str | Path]
    directory: Path
    environment: Mapping[str, str]
    log_file: Path
    ends_with_input: bool = False
    """It runs until `end_input`."""
    _running: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def start(self) -> None:
        """Start it out of reach of this terminal's Ctrl-C, which is for the crash test."""
        with self.log_file.open("ab") as log:
            self._running = subprocess.Popen(
                self.command,
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.PIPE if self.ends_with_input else subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    @property
    def runs(self) -> bool:
        return self._running is not None and self._running.poll() is None

    @property
    def pid(self) -> int:
        return self._started.pid

    @property
    def exit_code(self) -> int | None:
        return self._started.poll()

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self._started.kill()
        self._started.wait(STOP_S)

    def freeze(self) -> None:
        self._started.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._started.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM, and wait for its end.

        Raises:
            Broken: it did not end in time, or did not exit with 0.
        """
        self._started.terminate()
        self._ended()

    def end_input(self) -> None:
        """Close its standard input, and wait for its end.

        Raises:
            Broken: it did not end in time, or did not exit with 0.
        """
        if self._started.stdin:
            self._started.stdin.close()
        self._ended()

    def dispose(self) -> None:
        """Kill it if it still runs, for the clean-up."""
        if self.runs:
            self.kill()
        if self._running is not None and self._running.stdin:
            self._running.stdin.close()

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    @property
    def _started(self) -> "subprocess.Popen[bytes]":
        if self._running is None:
            raise Broken(f"{self.log_file.stem} was never started")
        return self._running

    def _ended(self) -> None:
        name = self.log_file.stem
        try:
            code = self._started.wait(STOP_S)
        except subprocess.TimeoutExpired:
            raise Broken(f"{name} did not stop within {STOP_S:g} s; its log: {self.log_file}") from None
        if code:
            raise Broken(f"{name} stopped with exit code {code}; its log: {self.log_file}")


def until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Wait for a condition; return whether it came true in time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.02)
    return True
