"""Measure all of it at rest: `python -m tests.bench.whole`.

Everything that `make up` starts, on ports and in a folder of its own, at the default time scale: how long it takes until all is
healthy, and what each process takes of a core and of the memory while the simulated plants run.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from adapters.launcher import orphans
from broker.runtime.settings import ROOT
from tests.bench.figures import Figure, below, progress, table
from tests.bench.machines import busy_s
from tests.real_broker import own_ports

SETTLE_S = 30.0
MEASURED_S = 60.0
SCAUP = (sys.executable, "-m", "adapters.cli.main")


def measure(data_dir: Path) -> list[Figure]:
    """Start everything, look at it for a minute, and stop it."""
    environment = {**os.environ, "RUNTIME": "native", "SCAUP_DATA_DIR": str(data_dir), **own_ports()}
    began_s = time.monotonic()
    try:
        subprocess.run([*SCAUP, "up"], cwd=ROOT, env=environment, check=True, capture_output=True)
        up_s = time.monotonic() - began_s
        progress(f"healthy after {up_s:.1f} s; letting it settle")
        time.sleep(SETTLE_S)
        processes = {each.process: _name(each.process) for each in orphans.find(orphans.mark_prefix(data_dir))}
        return [Figure("everything healthy after", up_s, "s", below(30, "s")), *_at_rest(processes)]
    finally:
        subprocess.run([*SCAUP, "down"], cwd=ROOT, env=environment, check=False, capture_output=True)


def _at_rest(processes: dict[psutil.Process, str]) -> list[Figure]:
    before, began_s = {each: busy_s(each) for each in processes}, time.monotonic()
    time.sleep(MEASURED_S)
    took_s = time.monotonic() - began_s
    shares = {each: 100 * (busy_s(each) - before[each]) / took_s for each in processes}
    memory = {each: each.memory_info().rss / 2**20 for each in processes}
    for each in sorted(processes, key=lambda process: -shares[process]):
        progress(f"{shares[each]:5.1f} % of a core, {memory[each]:4.0f} MiB  {processes[each]}")
    return [
        Figure("idle processor time, all processes", sum(shares.values()), "% of a core", below(40, "%")),
        Figure("resident memory, all processes", sum(memory.values()), "MiB"),
        Figure("processes", len(processes)),
    ]


def _name(process: psutil.Process) -> str:
    command = process.cmdline()
    return command[command.index("-m") + 1] if "-m" in command else Path(command[0]).name


def main() -> int:
    """Run the bench."""
    with tempfile.TemporaryDirectory(prefix="scaup-whole-") as folder:
        figures = measure(Path(folder))
    print(table(("figure", "target", "measured", "reached"), [figure.row for figure in figures]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
