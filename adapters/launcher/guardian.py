"""Watches the supervisor, its parent process. If that dies, it stops the remaining processes and starts the supervisor again.

The supervisor restarts everything else, including this program: `python -m adapters.launcher.guardian supervisord.conf`.
"""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from broker.launch.mosquitto import most_files
from broker.log import VARIABLE, Log, configure
from broker.runtime.settings import ROOT

LOOK_EVERY_S = 0.25
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
"""Between two attempts to start the supervisor."""

log = Log(__name__)


def start_supervisor(configuration: Path, mark: str, autostart: bool) -> None:
    """Start a supervisor; it detaches itself from this process.

    Raises:
        subprocess.SubprocessError: it does not start, or not in time; `reason` returns why.
        OSError: no process can be started now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < most_files():
        resource.setrlimit(resource.RLIMIT_NOFILE, (most_files(), hard))
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)]
    environment = supervisor_environment(os.environ, mark, autostart)
    subprocess.run(  # noqa: S603 - the command is made here
        command, cwd=ROOT, env=environment, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
    )


def supervisor_environment(environment: Mapping[str, str], mark: str, autostart: bool) -> dict[str, str]:
    """Return the environment of a new supervisor, without the variables that an earlier one has set."""
    from adapters.launcher.orphans import MARK
    from adapters.launcher.supervision import AUTOSTART

    kept = {name: value for name, value in environment.items() if not name.startswith(("SUPERVISOR_", "PYTHONHOME"))}
    return {**kept, MARK: mark, AUTOSTART: "true" if autostart else "false"}


def watch(parent: int) -> None:
    """Return when `parent` is no longer the parent of this process."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_S)


def heal(configuration: Path) -> None:
    """Stop the orphans of the supervisor that started this process, in order, and start a new supervisor.

    Nothing restarts this process, so a failed attempt is repeated, for as long as the file `plant-epoch` exists: it stands for
    a system that is to run.
    """
    from adapters.launcher import orphans

    log.warning("supervisor-died", "the supervisor has died: stopping what it had started")
    mark, pause_s = os.environ[orphans.MARK], FIRST_PAUSE_S
    while True:
        try:
            stopped = orphans.stop(mark)
            if not (configuration.parent / "plant-epoch").exists():
                log.info(
                    "stopped-for-down",
                    "%(stopped)d processes stopped; `make down` is running, so nothing is started",
                    stopped=stopped,
                )
                return
            log.info("supervisor-restarts", "%(stopped)d processes stopped, starting the supervisor again", stopped=stopped)
            mark = orphans.new_mark(configuration.parent)
            start_supervisor(configuration, mark, autostart=True)
            return
        except (subprocess.SubprocessError, OSError) as error:
            log.error(
                "supervisor-failed",
                "that failed, next attempt in %(pause_s).1f s: %(error)s",
                pause_s=pause_s,
                error=reason(error),
            )
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def reason(error: Exception) -> str:
    """Return why the supervisor did not start: its own output, where there is some."""
    output = (error.stderr or error.stdout) if isinstance(error, subprocess.CalledProcessError) else None
    return str(output or error).strip()


def main() -> None:
    """Guard the supervisor with this configuration until it dies or sends SIGTERM."""
    configuration = Path(sys.argv[1])
    configure("guardian", os.environ.get(VARIABLE), configuration.parent / "logs" / "guardian.log")
    watch(_supervisor())
    heal(configuration)


def _supervisor() -> int:
    """Return the supervisor's process id, or 0 if it has died already and the parent is another process."""
    import psutil

    from adapters.launcher.orphans import MARK

    parent = os.getppid()
    try:
        alive = psutil.Process(parent).environ().get(MARK) == os.environ[MARK]
    except (psutil.Error, OSError):
        alive = False
    return parent if alive else 0


if __name__ == "__main__":
    main()
