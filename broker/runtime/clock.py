"""The clocks of a process: plant time, which is scaled here and nowhere else, and the id of a start."""

import secrets
import time
from datetime import UTC, datetime, timedelta


def new_boot() -> str:
    """Return an id for this start of a component: a string that sorts by start time.

    12 hexadecimal digits of milliseconds since 1970 (wall time, UTC), then 8 random ones: two starts in one millisecond differ.
    """
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(4)}"


class PlantClock:
    """Plant time runs `scale` times as fast as wall time.

    `epoch` is the wall time at which plant time and wall time were the same; processes with the same epoch and
    scale agree on plant time. Without it, that instant is the start of this clock. At scale 1 plant time is wall time.
    """

    def __init__(self, scale: float = 1.0, epoch: datetime | None = None) -> None:
        self.scale = scale
        started_at = datetime.now(UTC)
        ahead = (started_at - epoch).total_seconds() * (scale - 1) if epoch else 0.0
        self._plant_start_at = started_at + timedelta(seconds=ahead)
        self._start_s = time.monotonic()

    def now_s(self) -> float:
        """Return plant seconds since this clock started; they never go back."""
        return (time.monotonic() - self._start_s) * self.scale

    def at(self) -> datetime:
        """Return the present instant of plant time, in UTC."""
        if self.scale == 1:
            return datetime.now(UTC)
        return self._plant_start_at + timedelta(seconds=self.now_s())

    def instant(self, now_s: float) -> datetime:
        """Return the instant of plant time, in UTC, at which `now_s()` has returned or will return `now_s`."""
        if self.scale == 1:  # wall time can be set, `now_s` cannot
            return datetime.now(UTC) + timedelta(seconds=now_s - self.now_s())
        return self._plant_start_at + timedelta(seconds=now_s)

    def wall_s(self, plant_s: float) -> float:
        """Convert a duration of plant time to wall seconds."""
        return plant_s / self.scale
