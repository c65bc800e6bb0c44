"""Finds and stops the processes of one `make up`, whatever their parent is by now.

Every process that the supervisor starts inherits a mark in its environment, made from the data directory and random bits at
each start of the supervisor. A process is one of ours if it has the mark; its name does not matter. Before a signal, psutil
compares the start time, so a reused process id is never hit.
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
FORWARDER = "lake-forwarder"

STOP_ORDER = ((GUARDIAN, 5.0), (SUPERVISOR, 150.0), (COMPONENTS, 10.0), (RECORDER, 45.0), (FORWARDER, 40.0), (BROKER, 30.0))
"""Groups in the order in which they are stopped, and the seconds each gets before it is killed.

The guardian comes first, so that it restarts nothing; the recorder after the publishers; the forwarder of the
lake after it, when the last messages are in the outbox; the broker last, so that every
queue is flushed.
"""

LOOKS = 5
"""Number of searches for remaining processes."""


@dataclass(frozen=True, slots=True)
class Member:
    """One process, and its group at the supervisor."""

    process: psutil.Process
    group: str


def mark_prefix(data_dir: Path) -> str:
    """Return the beginning of the mark of every process on this data directory."""
    return f"{data_dir}#"


def new_mark(data_dir: Path) -> str:
    """Return a new mark."""
    return mark_prefix(data_dir) + secrets.token_hex(8)


def find(prefix: str) -> list[Member]:
    """Return the processes whose mark begins with `prefix`, except this one and its parents."""
    mine = {os.getpid(), *(each.pid for each in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        environment = _environment(process)
        if process.pid not in mine and environment.get(MARK, "").startswith(prefix):
            found.append(Member(process, environment.get("SUPERVISOR_GROUP_NAME", SUPERVISOR)))
    return found


def stop(prefix: str) -> int:
    """Stop every process whose mark begins with `prefix`, cleanly and in order; return how many there were.

    It searches again until there is none, since a process may start another while it is being stopped.
    """
    seen: set[int] = set()
    for _ in range(LOOKS):
        if not (members := find(prefix)):
            time.sleep(0.05)  # a process that was just starting is found by the second search
            if not (members := find(prefix)):
                break
        seen |= {each.process.pid for each in members}
        for group, limit_s in STOP_ORDER:
            stop_all([each.process for each in members if each.group == group and not has_ended(each.process)], limit_s)
    return len(seen)


def stop_all(processes: Iterable[psutil.Process], limit_s: float) -> None:
    """Send SIGTERM to all, and SIGKILL to those that have not ended after `limit_s`."""
    waiting = list(processes)
    _signal(waiting, "terminate")
    waiting = wait(waiting, limit_s)
    _signal(waiting, "kill")
    wait(waiting, 5.0)


def wait(processes: Iterable[psutil.Process], limit_s: float) -> list[psutil.Process]:
    """Wait until the processes have ended; return those that have not after `limit_s`."""
    deadline_s = time.monotonic() + limit_s
    waiting = [each for each in processes if not has_ended(each)]
    while waiting and time.monotonic() < deadline_s:
        time.sleep(0.02)
        waiting = [each for each in waiting if not has_ended(each)]
    return waiting


def has_ended(process: psutil.Process) -> bool:
    """Return whether a process has ended, even if its exit code has not been read."""
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
