"""Finding and stopping marked processes."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
import pytest

from adapters.launcher import orphans

POLITE = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); print('up', flush=True); time.sleep(60)"
)
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for each in processes:
        each.kill()
        each.communicate()


def start(started: list[subprocess.Popen[bytes]], mark: str, group: str, program: str = POLITE) -> psutil.Process:
    environment = {**os.environ, orphans.MARK: mark, "SUPERVISOR_GROUP_NAME": group}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE)
    started.append(process)
    assert process.stdout is not None
    process.stdout.readline()
    return psutil.Process(process.pid)


def test_find_returns_marked_processes_only(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    ours = start(started, orphans.new_mark(tmp_path / "var"), orphans.BROKER)
    start(started, orphans.new_mark(tmp_path / "var2"), orphans.BROKER)
    start(started, "", orphans.BROKER)
    found = orphans.find(orphans.mark_prefix(tmp_path / "var"))
    assert [(each.process.pid, each.group) for each in found] == [(ours.pid, orphans.BROKER)]


def test_groups_are_stopped_in_order(
    tmp_path: Path, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = orphans.new_mark(tmp_path)
    for group in (orphans.BROKER, orphans.COMPONENTS, orphans.RECORDER):
        start(started, mark, group)
    order: list[str] = []
    real = orphans.stop_all

    def noted(processes: Iterable[psutil.Process], limit_s: float) -> None:
        listed = list(processes)
        order.extend(each.environ()["SUPERVISOR_GROUP_NAME"] for each in listed)
        real(listed, limit_s)

    monkeypatch.setattr(orphans, "stop_all", noted)
    assert orphans.stop(orphans.mark_prefix(tmp_path)) == 3
    assert order == [orphans.COMPONENTS, orphans.RECORDER, orphans.BROKER]
    assert orphans.find(orphans.mark_prefix(tmp_path)) == []


def test_process_that_ignores_sigterm_is_killed(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    process = start(started, orphans.new_mark(tmp_path), orphans.COMPONENTS, STUBBORN)
    orphans.stop_all([process], limit_s=0.2)
    assert orphans.has_ended(process)


def test_find_leaves_out_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(orphans.MARK, orphans.new_mark(tmp_path))
    assert orphans.find(orphans.mark_prefix(tmp_path)) == []


def test_marks_differ(tmp_path: Path) -> None:
    assert orphans.new_mark(tmp_path) != orphans.new_mark(tmp_path)
