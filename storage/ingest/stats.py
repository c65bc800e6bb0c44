"""Statistics of the recorder: counts of messages and the duration of commits."""

import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime

from broker.contract.storage.topics import RecorderStats
from storage.database.database import Database

_WINDOW_S = 60.0


@dataclass(slots=True)
class Stats:
    """Counts of messages since the start, and the durations of the commits of the last minute."""

    received: int = 0
    committed: int = 0
    acknowledged: int = 0
    duplicates: int = 0
    rejected: int = 0
    dropped: int = 0
    last_error: str | None = None
    clock_warning: str | None = None
    warning: str | None = None
    _commits: deque[tuple[float, float]] = field(default_factory=deque)

    def add_commit(self, seconds: float) -> None:
        """Add the time from the arrival of a batch's first message to its commit."""
        now_s = time.monotonic()
        self._commits.append((now_s, seconds))
        while self._commits[0][0] < now_s - _WINDOW_S:
            self._commits.popleft()

    def snapshot(self, database: Database, queued: int) -> RecorderStats:
        """Return the message for `storage/stats`."""
        durations = sorted(seconds for _, seconds in self._commits)
        database_bytes, wal_bytes = database.file_sizes
        return RecorderStats(
            at=datetime.now(UTC),
            received=self.received,
            committed=self.committed,
            acknowledged=self.acknowledged,
            duplicates=self.duplicates,
            rejected=self.rejected,
            dropped=self.dropped,
            queued=queued,
            commit_p50_s=_quantile(durations, 0.5),
            commit_p99_s=_quantile(durations, 0.99),
            database_bytes=database_bytes,
            wal_bytes=wal_bytes,
            free_bytes=database.free_bytes,
            last_error=self.last_error,
            warning="; ".join(filter(None, (self.clock_warning, self.warning))) or None,
        )


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
