"""One charger: its widget's status, and the charging session of the connected battery.

Instants are plant time, RFC 3339 in UTC with microseconds, so that they sort by time as text.
"""

from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from broker.contract.charging.topics import ChargerState, ChargingSession, EndedBy, Running, Status

YELLOW_PCT = 80.0
FULL_PCT = 100.0
NOISE_PCT = 1.0
"""A state of charge that falls by no more than this is still the same battery's."""
_ROUNDING_PCT = 1e-9


@dataclass(frozen=True, slots=True)
class Change:
    """New state of a charger, and the sessions that began or ended, in order."""

    state: ChargerState
    sessions: tuple[ChargingSession, ...] = ()


def status_of(soc: float) -> Status:
    """Return the status that a widget shows at a state of charge in %, 0 to 100."""
    if soc >= FULL_PCT:
        return Status.CHARGED
    return Status.CHARGING_80 if soc >= YELLOW_PCT else Status.CHARGING


def take_soc(charger: str, before: ChargerState, soc: float, at: str) -> Change:
    """Take a measured state of charge, in % at an instant."""
    ended: tuple[ChargingSession, ...] = ()
    running, full = before.session, before.full and not _fell(FULL_PCT, soc)
    if running is not None and running.soc_highest is not None and _fell(running.soc_highest, soc):
        ended, running = (_ended(before, running, EndedBy.REPLACED, before.soc_at or at),), None
    began = running is None and not full
    if began:
        running = Running(f"{charger}@{at}", at, soc, soc)
    state = replace(before, soc=soc, soc_at=at, status=status_of(soc), session=running, full=full)
    if running is None:
        return Change(state, ended)
    if soc >= FULL_PCT:
        charged = _ended(state, running, EndedBy.CHARGED, at)
        return Change(replace(state, session=None, full=True), (*ended, charged))
    state = replace(state, session=replace(running, soc_highest=max(running.soc_highest or soc, soc)))
    return Change(state, (*ended, _begun(state, running)) if began else ended)


def disconnect(before: ChargerState, at: str) -> Change:
    """Mark the charger as disconnected since an instant, and end its session, if one is running."""
    return Change(_offline(before), _all_ended(before, EndedBy.OFFLINE, at))


def unpair(before: ChargerState, at: str) -> Change:
    """Mark the charger as removed from the pairs. One that uses its name later starts from scratch."""
    return Change(replace(_offline(before), full=False), _all_ended(before, EndedBy.UNPAIRED, at))


def is_ended(state: ChargerState) -> bool:
    """Return whether the charger is offline, its widget shows it, and no session is running."""
    return state.state == "offline" and state.status is Status.UNAVAILABLE and state.session is None


def _offline(before: ChargerState) -> ChargerState:
    return replace(before, state="offline", status=Status.UNAVAILABLE, session=None)


def _fell(from_soc: float, soc: float) -> bool:
    return from_soc - soc > NOISE_PCT + _ROUNDING_PCT


def _begun(state: ChargerState, running: Running) -> ChargingSession:
    return ChargingSession(
        session=running.session, widget=state.widget, started_at=running.started_at, soc_start=running.soc_start
    )


def _all_ended(before: ChargerState, by: EndedBy, at: str) -> tuple[ChargingSession, ...]:
    if before.session is None:
        return ()
    return (_ended(before, before.session, by, max(at, before.soc_at or at)),)


def _ended(state: ChargerState, running: Running, by: EndedBy, at: str) -> ChargingSession:
    """End a session with the last state of charge; if the clock was set back, at the instant at which it began."""
    ended_at = max(at, running.started_at)
    duration = datetime.fromisoformat(ended_at) - datetime.fromisoformat(running.started_at)
    return ChargingSession(
        session=running.session,
        widget=state.widget,
        started_at=running.started_at,
        soc_start=running.soc_start,
        ended_at=ended_at,
        soc_end=state.soc,
        duration_s=duration.total_seconds(),
        ended_by=by,
    )
