"""A message that was taken before: the broker delivers again what a controller that was killed had not acknowledged."""

from datetime import datetime, timedelta

from broker.contract.charging.topics import ChargerState
from broker.stamp import Stamp, rfc3339

FIRST_YEAR = 1970
"""Earlier instants are somebody's mistake."""
SKEW_S = 60.0
"""Wall seconds that clocks may be ahead, and by which what is delivered again may be older than what was taken last."""


class Redelivery:
    """What was taken last of each charger. `time_scale` is plant seconds per wall second."""

    def __init__(self, time_scale: float) -> None:
        self._skew = timedelta(seconds=SKEW_S * time_scale)
        self._last: dict[str, Stamp] = {}

    def instant(self, stamp: Stamp, now: datetime) -> datetime:
        """Return when it was said what a message says, as far as can be known."""
        at = stamp.plant_at
        return now if at is None or at.year < FIRST_YEAR else at

    def is_old(self, charger: str, stamp: Stamp, soc: float, state: ChargerState | None, now: datetime) -> bool:
        """Tell whether a charger's frame was taken before, and remember it if not.

        The numbers of its publisher tell, where they can; else the instant, unless the clock was set back since.
        """
        last = self._last.get(charger)
        old = _was_numbered(stamp, last) if last else None
        if old is None:
            old = self._was_before(stamp, soc, state, now)
        if not old:
            self._last[charger] = stamp
        return old

    def forget(self, charger: str) -> None:
        """Forget a charger."""
        self._last.pop(charger, None)

    def _was_before(self, stamp: Stamp, soc: float, state: ChargerState | None, now: datetime) -> bool:
        if stamp.plant_at is None or stamp.plant_at.year < FIRST_YEAR or state is None or state.soc_at is None:
            return False
        at = rfc3339(stamp.plant_at)
        if (at, soc) == (state.soc_at, state.soc):
            return True
        return at < state.soc_at <= min(rfc3339(stamp.plant_at + self._skew), rfc3339(now + self._skew))


def _was_numbered(stamp: Stamp, last: Stamp) -> bool | None:
    """Tell it from the numbers within one start of a publisher, None where these are not of one."""
    if stamp.seq is None or last.seq is None or stamp.boot is None or (stamp.source, stamp.boot) != (last.source, last.boot):
        return None
    return stamp.seq <= last.seq
