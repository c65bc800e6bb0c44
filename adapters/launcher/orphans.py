"""Finds and stops processes of one `make up`, whoever their parent is by now.

Every process that the supervisor starts inherits a mark in its environment, made anew at each start of the supervisor from
the data directory and random bits. A process is one of ours if it carries the mark; its name is never looked at. Between
finding and signalling, psutil compares the start time, so that a reused process id is never hit.
"""

import os
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

MARK = "_SCAUP_RUN"
"""Environment variable with the mark."""

SUPERVISOR, GUARDIAN, COMPONENTS, RECORDER, BROKER = "supervisor", "guardian", "components", "recorder", "broker"

STOP_ORDER = ((GUARDIAN, 5.0), (SUPERVISOR, 90.0), (COMPONENTS, 10.0), (RECORDER, 30.0), (BROKER, 30.0))
"""Groups in the order in which they are stopped, and the seconds each gets before it is killed.

The guardian first, so that it does not start anything again; the recorder after those who publish; the broker last, so that
every queue is flushed.
"""

LOOKS = 5
"""How often to look for processes that are still there."""


@dataclass(frozen=True, slots=True)
class Member:
    """One process of ours and the supervisor's group that it belongs to."""

    process: psutil.Process
    group: str


def mark_prefix(data_dir: Path) -> str:
    """Return what the mark of every process that runs on this data directory begins with."""
    return f"{data_dir}#"


def new_mark(data_dir: Path) -> str:
    """Return a mark that no process has yet."""
    return mark_prefix(data_dir) + secrets.token_hex(8)


def find(prefix: str) -> list[Member]:
    """Return the processes whose mark begins with `prefix`, without this one and those that started it."""
    mine = {os.getpid(), *(each.pid for each in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        environment = _environment(process)
        if process.pid not in mine and environment.get(MARK, "").startswith(prefix):
            found.append(Member(process, environment.get("SUPERVISOR_GROUP_NAME", SUPERVISOR)))
    return found


def stop(prefix: str) -> int:
    """Stop every process whose mark begins with `prefix`, cleanly and in order; return how many there were.

    Looks again until there is none, since one may start another while it is being stopped.
    """
    seen: set[int] = set()
    for _ in range(LOOKS):
        if not (members := find(prefix)):
            time.sleep(0.05)  # one that was being born during the first look is there in the second
            if not (members := find(prefix)):
                break
        seen |= {each.process.pid for each in members}
        for group, limit_s in STOP_ORDER:
            stop_all([each.process for each in members if each.group == group and not gone(each.process)], limit_s)
    return len(seen)


def stop_all(processes: Iterable[psutil.Process], limit_s: float) -> None:
    """Send SIGTERM to all, wait for their end, and send SIGKILL to those that are still there after `limit_s`."""
    waiting = list(processes)
    _signal(waiting, "terminate")
    waiting = wait(waiting, limit_s)
    _signal(waiting, "kill")
    wait(waiting, 5.0)


def wait(processes: Iterable[psutil.Process], limit_s: float) -> list[psutil.Process]:
    """Wait until the processes have ended; return those that have not after `limit_s`."""
    deadline_s = time.monotonic() + limit_s
    waiting = [each for each in processes if not gone(each)]
    while waiting and time.monotonic() < deadline_s:
        time.sleep(0.02)
        waiting = [each for each in waiting if not gone(each)]
    return waiting


def gone(process: psutil.Process) -> bool:
    """Tell whether a process has ended, even if nobody has fetched its exit code yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _signal(processes: Iterable[psutil.Process], method: str) -> None:
    for process in processes:
        try:
            getattr(process, method)()
        except psutil.NoSuchProcess:
            continue


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}
