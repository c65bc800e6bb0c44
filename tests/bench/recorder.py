"""Measure the recorder against the spec's figures: `python -m tests.bench.recorder`.

Real Mosquitto with the shipped configuration, real recorder, everything in one run on one machine. `--only drain` chooses a
part, `--quick` makes all of it ten times smaller, `--markdown` prints the peers' table of docs/recording.md, `--strict` exits
with 1 where a figure is not reached.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable

from tests.bench.figures import PEER_COLUMNS, Figure, markdown, progress, table
from tests.bench.recorder_drain import drains
from tests.bench.recorder_load import latency, sustained
from tests.bench.recorder_queries import queries
from tests.bench.recorder_start import starts

PARTS: dict[str, Callable[[float], list[Figure]]] = {
    "sustained": sustained,
    "latency": latency,
    "queries": queries,
    "start": starts,
}
DRAIN = "drain"


def main() -> int:
    """Run the bench."""
    arguments = _arguments()
    chosen = [arguments.only] if arguments.only else [DRAIN, *PARTS]
    scale = 0.1 if arguments.quick else 1.0
    began_s, load = time.monotonic(), os.getloadavg()[0]
    figures: list[Figure] = []
    for name in chosen:
        progress(name)
        if name == DRAIN:
            measured, peers = drains(scale)
            form = markdown if arguments.markdown else table
            print(form(PEER_COLUMNS, [each.row for each in peers]), end="\n\n", flush=True)
        else:
            measured = PARTS[name](scale)
        figures += measured
    print(table(("figure", "target", "measured", "reached"), [each.row for each in figures]))
    missed = [each.name for each in figures if each.missed]
    print(f"\n{os.cpu_count()} processors, load before: {load:.1f}. Took {time.monotonic() - began_s:.0f} s")
    print(f"not reached: {', '.join(missed) or 'nothing'}")
    return 1 if arguments.strict and missed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the recorder against the spec's figures.")
    parser.add_argument("--only", choices=[DRAIN, *PARTS], help="measure only this part")
    parser.add_argument("--quick", action="store_true", help="everything ten times smaller: to see whether the bench works")
    parser.add_argument("--markdown", action="store_true", help="print the peers' table for docs/recording.md")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a figure is not reached")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
