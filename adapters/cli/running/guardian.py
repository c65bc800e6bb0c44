"""Watches its parent, the supervisor. Should that die, it stops what is left of it and starts it again.

The supervisor restarts everything else, this program too: `python -m adapters.cli.running.guardian supervisord.conf`.
"""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from broker.settings import ROOT

LOOK_EVERY_S = 0.25

log = logging.getLogger(__name__)


def start_supervisor(configuration: Path, mark: str, autostart: bool) -> None:
    """Start a supervisor; it detaches itself from this process.

    Raises:
        subprocess.CalledProcessError: it does not start, `output` says why.
    """
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)]
    environment = supervisor_environment(os.environ, mark, autostart)
    subprocess.run(  # noqa: S603 - the command is made here
        command, cwd=ROOT, env=environment, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
    )


def supervisor_environment(environment: Mapping[str, str], mark: str, autostart: bool) -> dict[str, str]:
    """Return the environment of a new supervisor: what an earlier one left in ours must not reach it."""
    from adapters.cli.running.orphans import MARK
    from adapters.cli.running.supervision import AUTOSTART

    kept = {name: value for name, value in environment.items() if not name.startswith(("SUPERVISOR_", "PYTHONHOME"))}
    return {**kept, MARK: mark, AUTOSTART: "true" if autostart else "false"}


def watch(parent: int) -> None:
    """Return when `parent` is no longer the parent of this process."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_S)


def heal(configuration: Path) -> None:
    """Stop the orphans of the supervisor that started this process, in order, and start a new supervisor."""
    from adapters.cli.running import orphans

    data_dir = configuration.parent
    log.warning("the supervisor has died: stopping what it had started")
    stopped = orphans.stop(os.environ[orphans.MARK])
    if not (data_dir / "plant-epoch").exists():
        log.info("%d processes stopped; `make down` is at work, so nothing is started again", stopped)
        return
    log.info("%d processes stopped, starting the supervisor again", stopped)
    start_supervisor(configuration, orphans.new_mark(data_dir), autostart=True)


def main() -> None:
    """Guard the supervisor with this configuration until it dies or says SIGTERM."""
    configuration = Path(sys.argv[1])
    logging.basicConfig(
        filename=configuration.parent / "logs" / "guardian.log", level=logging.INFO, format="%(asctime)s guardian %(message)s"
    )
    watch(_supervisor())
    try:
        heal(configuration)
    except subprocess.CalledProcessError as error:
        log.error("the supervisor does not start: %s", error.stderr or error.stdout)
        sys.exit(1)


def _supervisor() -> int:
    """The process id of the parent, or 0 if that died before we looked and somebody else is the parent now."""
    import psutil

    from adapters.cli.running.orphans import MARK

    parent = os.getppid()
    try:
        alive = psutil.Process(parent).environ().get(MARK) == os.environ[MARK]
    except (psutil.Error, OSError):
        alive = False
    return parent if alive else 0


if __name__ == "__main__":
    main()
