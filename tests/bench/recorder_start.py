"""The time until a killed recorder records again, which its write-ahead log determines."""

import os
import time
from pathlib import Path
from statistics import median

import duckdb

from tests.bench.figures import Figure, below, progress
from tests.bench.recorder_operator import Operator, create_session
from tests.bench.recorder_queries import insert
from tests.bench.recorder_world import Job, running_broker, running_recorder

WAL_BYTES = 100_000_000
_STEP = 10_000
_REPEATS = 3


def starts(scale: float) -> list[Figure]:
    """Start over a log of 100 MB and over none; timed is from the start of the process to the answer that follows a commit."""
    over_log = [start(round(WAL_BYTES * scale)) for _ in range(_REPEATS)]
    over_none = median(start(0)[0] for _ in range(_REPEATS))
    return [
        Figure("start: write-ahead log", median(size for _, size in over_log) / 1e6, "MB"),
        Figure("start: process to first commit", median(took_s for took_s, _ in over_log), "s", below(1, "s")),
        Figure("start: the same without a log", over_none, "s"),
    ]


def start(wal_bytes: int) -> tuple[float, int]:
    """Return the seconds to the first commit, and the size of the log."""
    with running_broker() as broker:
        create_session(broker)
        wal = Path(f"{broker.settings.database}.wal")
        if wal_bytes:
            with Job(leave_log, broker.settings.database, wal_bytes) as job:
                job.wait()
        size = wal.stat().st_size if wal.exists() else 0
        with Operator(broker) as operator:
            operator.post("SELECT 1 AS one")
            began_s = time.monotonic()
            with running_recorder(broker):
                _, answered_s = operator.answer()
    progress(f"start over {size / 1e6:.0f} MB: {answered_s - began_s:.2f} s")
    return answered_s - began_s, size


def leave_log(path: Path, wal_bytes: int) -> None:
    """Commit batches that no checkpoint takes over, until the log is so long, and die without closing."""
    connection = duckdb.connect(str(path), config={"checkpoint_threshold": "10GB"})
    wal = Path(f"{path}.wal")
    first = 0
    while not wal.exists() or wal.stat().st_size < wal_bytes:
        connection.execute("BEGIN")
        insert(connection, first, first + _STEP, 0.01)
        connection.execute("COMMIT")
        first += _STEP
    os._exit(0)
