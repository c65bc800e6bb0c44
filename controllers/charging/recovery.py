"""Recovery after a restart: retained states are read, and redelivered messages are found.

The broker delivers again what a controller that was killed had not acknowledged.
"""

from datetime import datetime, timedelta

from msgspec.structs import replace

from broker.contract.charging.topics import STATE, ChargerState
from broker.errors import Rejected
from broker.message import Message
from broker.stamp import Stamp, rfc3339
from controllers.charging.pairs import id_error

FIRST_YEAR = 1970
"""Earlier instants are taken for mistakes."""
SKEW_S = 60.0
"""Wall seconds that clocks may be ahead, and by which a redelivered message may be older than the last one taken."""


def read_retained_state(charger: str, message: Message) -> ChargerState:
    """Read a charger's retained state, which is checked as if anyone could have written it.

    Raises:
        Rejected: it is not JSON, not of this shape, has an id that no charger or widget can have, or an invalid instant.
    """
    state = STATE.decode(message)
    for text in (charger, state.widget):
        if text is not None and (reason := id_error(text)):
            raise Rejected(f"{text[:80]!a}: {reason}")
    session = state.session
    if session is not None:
        session = replace(session, started_at=_instant(session.started_at))
    return replace(state, soc_at=None if state.soc_at is None else _instant(state.soc_at), session=session)


def measured_at(stamp: Stamp, now: datetime) -> datetime:
    """Return the instant of a charger's frame: that of its stamp, or `now` if it has no usable one."""
    at = stamp.plant_at
    return now if at is None or at.year < FIRST_YEAR else at


class RedeliveryFilter:
    """The stamp of the last frame of each charger. `time_scale` is plant seconds per wall second."""

    def __init__(self, time_scale: float) -> None:
        self._skew = timedelta(seconds=SKEW_S * time_scale)
        self._last: dict[str, Stamp] = {}

    def is_redelivered(self, charger: str, stamp: Stamp, soc: float, state: ChargerState | None, now: datetime) -> bool:
        """Return whether a charger's frame was taken before; remember it if not.

        The publisher's sequence numbers decide where they can. Otherwise the instant does, unless the clock was set back since.
        """
        last = self._last.get(charger)
        redelivered = _by_sequence(stamp, last) if last else None
        if redelivered is None:
            redelivered = self._by_instant(stamp, soc, state, now)
        if not redelivered:
            self._last[charger] = stamp
        return redelivered

    def remove(self, charger: str) -> None:
        """Remove a charger."""
        self._last.pop(charger, None)

    def _by_instant(self, stamp: Stamp, soc: float, state: ChargerState | None, now: datetime) -> bool:
        if stamp.plant_at is None or stamp.plant_at.year < FIRST_YEAR or state is None or state.soc_at is None:
            return False
        at = rfc3339(stamp.plant_at)
        if (at, soc) == (state.soc_at, state.soc):
            return True
        return at < state.soc_at <= min(rfc3339(stamp.plant_at + self._skew), rfc3339(now + self._skew))


def _by_sequence(stamp: Stamp, last: Stamp) -> bool | None:
    """Compare the numbers within one start of a publisher; None if the stamps are not of one start."""
    if stamp.seq is None or last.seq is None or stamp.boot is None or (stamp.source, stamp.boot) != (last.source, last.boot):
        return None
    return stamp.seq <= last.seq


def _instant(text: str) -> str:
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None and instant.year >= FIRST_YEAR:
            return rfc3339(instant)
    except (ValueError, OverflowError):
        pass
    raise Rejected(f"{text[:80]!a} is not an instant with an offset, such as 2026-01-31T08:00:00Z")
