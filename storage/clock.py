"""The recorder's wall clock: the times of arrival that it gives, and the steps that it takes.

A wall clock can be wrong and be put right at any moment. A second clock, which is never set, shows each step.
"""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from broker.contract.storage.topics import CLOCK_WARNING
from broker.log import Log

log = Log(__name__)

LARGEST_HELD_S = 2.0
"""After a smaller step back, times of arrival wait for the clock, a microsecond a message; a larger one they follow."""
LARGEST_QUIET_S = 60.0
"""After a larger step, either way, nothing is archived or deleted until the clock has been steady for `STEADY_S`."""
STEADY_S = 3600.0
_ORDER = ": `received_at` follows it once, `number` is the order of messages"


def _wall_us() -> int:
    return time.time_ns() // 1000


def _running_s() -> float:
    """Return seconds that pass while the machine sleeps too, where there is such a clock, and that no one can set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class WallClock:
    """The wall clock of one recorder. Any thread may use it.

    Args:
        wall_us: returns microseconds of wall time since 1970.
        running_s: returns seconds of a clock that takes no steps.
    """

    def __init__(self, wall_us: Callable[[], int] = _wall_us, running_s: Callable[[], float] = _running_s) -> None:
        self._wall_us, self._running_s = wall_us, running_s
        self._offset_s = self._earlier_offset_s = wall_us() / 1e6 - running_s()
        self._stepped_s, self._noted_back = 0.0, False
        self._last_us = 0
        self._lock = threading.Lock()
        self._warning, self._warned_until_s = "", 0.0
        self._unsteady, self._unsteady_until_s = "", 0.0

    def arrivals(self, count: int) -> range:
        """Return the times of arrival of `count` messages, in microseconds, each a different one.

        They grow from message to message, but for one step back where the clock was ahead and has been put right.
        """
        with self._lock:
            now_us = self._look()
            if now_us < self._last_us - LARGEST_HELD_S * 1e6:
                back_s = (self._last_us - now_us) / 1e6
                if not self._noted_back:
                    self._note_back(f"moved {_length(back_s)} back", back_s)
                self._last_us, self._noted_back = 0, False
            first_us = max(self._last_us + 1, now_us)
            self._last_us = first_us + count - 1
        return range(first_us, first_us + count)

    def age_s(self, arrived_us: int) -> float:
        """Return the seconds since a time of arrival, whatever steps the clock took meanwhile."""
        with self._lock:
            self._look()
            now_s, arrived_s = self._running_s(), arrived_us / 1e6 - self._offset_s
            before_step_s = arrived_us / 1e6 - self._earlier_offset_s
            if arrived_s > now_s or (self._offset_s > self._earlier_offset_s and before_step_s <= self._stepped_s):
                arrived_s = before_step_s
            return max(0.0, now_s - arrived_s)

    def continue_after(self, newest_at: datetime) -> None:
        """Report a clock that is behind the last message of an earlier run."""
        with self._lock:
            ahead_s = newest_at.timestamp() - self._wall_us() / 1e6
            if ahead_s > LARGEST_HELD_S:
                self._note_back(f"is {_length(ahead_s)} behind the last recorded message", ahead_s)

    @property
    def warning(self) -> str | None:
        """The last step, for an hour after it; None without one."""
        with self._lock:
            self._look()
            return self._warning if self._running_s() < self._warned_until_s else None

    @property
    def unsteady(self) -> str | None:
        """Why dates of the wall clock should not be acted upon, None if the clock is steady."""
        with self._lock:
            self._look()
            return self._unsteady if self._running_s() < self._unsteady_until_s else None

    def _look(self) -> int:
        """Return the wall time in microseconds, and note a large step."""
        now_us = self._wall_us()
        step_s = now_us / 1e6 - self._running_s() - self._offset_s
        if abs(step_s) > LARGEST_QUIET_S:
            self._earlier_offset_s, self._stepped_s = self._offset_s, self._running_s()
            self._offset_s += step_s
            self._noted_back = step_s < 0
            if step_s > 0:
                self._distrust(f"moved {_length(step_s)} ahead")
            else:
                self._note_back(f"moved {_length(-step_s)} back", -step_s)
        return now_us

    def _distrust(self, what: str) -> None:
        self._warn(f"{what}; nothing is archived or deleted until it has been steady for {_length(STEADY_S)}")
        self._unsteady, self._unsteady_until_s = self._warning, self._warned_until_s

    def _note_back(self, what: str, back_s: float) -> None:
        note = self._distrust if back_s > LARGEST_QUIET_S else self._warn
        note(f"{what}{_ORDER}")

    def _warn(self, what: str) -> None:
        at = datetime.fromtimestamp(self._wall_us() / 1e6, UTC)
        self._warning = f"{CLOCK_WARNING}{what} ({at:%Y-%m-%d %H:%M:%S}Z)"
        self._warned_until_s = self._running_s() + STEADY_S
        log.warning("clock-step", "%(warning)s", warning=self._warning)


def _length(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
