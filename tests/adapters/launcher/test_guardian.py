"""The guardian: it starts a dead supervisor again, whatever fails meanwhile."""

import logging
import subprocess
from pathlib import Path

import pytest

from adapters.launcher import guardian, orphans
from adapters.launcher.guardian import heal, reason, supervisor_environment
from adapters.launcher.orphans import MARK
from adapters.launcher.supervision import AUTOSTART

FAILURES = (
    subprocess.CalledProcessError(2, ["supervisord"], stderr="Error: no space\n"),
    subprocess.TimeoutExpired(["supervisord"], 30),
    OSError(12, "Cannot allocate memory"),
)


class Machine:
    """Starts a supervisor after `failures`; `pauses_s` and `stopped` record what the guardian did meanwhile."""

    def __init__(self, data_dir: Path, failures: list[Exception]) -> None:
        self.epoch, self.failures = data_dir / "plant-epoch", failures
        self.epoch.touch()
        self.stopped: list[str] = []
        self.started: list[str] = []
        self.pauses_s: list[float] = []
        self.down_after_pauses = 1_000

    def stop(self, mark: str) -> int:
        self.stopped.append(mark)
        return 3

    def start(self, _configuration: Path, mark: str, autostart: bool) -> None:
        assert autostart
        self.started.append(mark)
        if self.failures:
            raise self.failures.pop(0)

    def sleep(self, pause_s: float) -> None:
        self.pauses_s.append(pause_s)
        if len(self.pauses_s) == self.down_after_pauses:
            self.epoch.unlink()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path, [])
    monkeypatch.setenv(MARK, "old")
    monkeypatch.setattr(orphans, "stop", made.stop)
    monkeypatch.setattr(guardian, "start_supervisor", made.start)
    monkeypatch.setattr("time.sleep", made.sleep)
    return made


def test_new_supervisor_inherits_nothing_of_the_old_one() -> None:
    old = {"SUPERVISOR_GROUP_NAME": "guardian", "SUPERVISOR_ENABLED": "1", MARK: "old", AUTOSTART: "false", "PATH": "/bin"}
    assert supervisor_environment(old, "new", autostart=True) == {"PATH": "/bin", MARK: "new", AUTOSTART: "true"}


@pytest.mark.parametrize("failure", FAILURES, ids=lambda each: type(each).__name__)
def test_failed_start_is_repeated_after_stopping_its_leftovers(machine: Machine, tmp_path: Path, failure: Exception) -> None:
    machine.failures = [failure]
    heal(tmp_path / "supervisord.conf")
    assert len(machine.started) == 2
    assert machine.stopped == ["old", machine.started[0]]
    assert machine.started[0] != machine.started[1]


def test_pause_between_attempts_grows_to_ten_seconds(machine: Machine, tmp_path: Path) -> None:
    machine.failures = [*FAILURES] * 3
    heal(tmp_path / "supervisord.conf")
    assert machine.pauses_s == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0, 10.0]


def test_make_down_ends_the_attempts(machine: Machine, tmp_path: Path) -> None:
    machine.failures = [*FAILURES] * 10
    machine.down_after_pauses = 4
    heal(tmp_path / "supervisord.conf")
    assert len(machine.started) == 4


def test_failed_search_for_orphans_is_repeated(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[Exception] = [OSError(24, "Too many open files")]

    def stop(mark: str) -> int:
        if failures:
            raise failures.pop()
        return machine.stop(mark)

    monkeypatch.setattr(orphans, "stop", stop)
    heal(tmp_path / "supervisord.conf")
    assert (machine.stopped, len(machine.started)) == (["old"], 1)


def test_nothing_starts_while_make_down_runs(machine: Machine, tmp_path: Path) -> None:
    machine.epoch.unlink()
    heal(tmp_path / "supervisord.conf")
    assert (machine.stopped, machine.started) == (["old"], [])


def test_log_has_the_output_of_the_supervisor(machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    machine.failures = [FAILURES[0]]
    with caplog.at_level(logging.ERROR):
        heal(tmp_path / "supervisord.conf")
    assert "no space" in caplog.text
    assert [reason(each).split()[-1] for each in FAILURES] == ["space", "seconds", "memory"]
