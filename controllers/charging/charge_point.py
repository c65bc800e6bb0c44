"""One OCPP charger: its widget's status, from the state of charge where there is one, else from its own status.

Its sessions are its transactions, which the charger adapter publishes: they go on while the charger is offline.
"""

from msgspec.structs import replace

from broker.contract.charging.topics import ChargePoint, ChargerState, Running, Status, Transaction
from controllers.charging.charger import status_of

CHARGING = "Charging"
FULL = ("SuspendedEV", "Finishing")
"""The car takes no more."""
UNPLUGGED = "Available"


def follow(state: ChargerState, point: ChargePoint) -> ChargerState:
    """Return the state of a charger that is connected, after what it has reported."""
    running = _running(point)
    session = None if running is None else Running(running.session, running.started_at, running.soc_start, running.soc)
    begun = session is not None and (state.session is None or state.session.session != session.session)
    if begun and running is not None and running.soc is None:
        state = replace(state, soc=None, soc_at=None)  # it was another car's
    elif running is None and point.connectors and set(point.connectors.values()) == {UNPLUGGED}:
        state = replace(state, soc=None, soc_at=None)
    return replace(state, session=session, full=False, status=_status(state.soc, point))


def measure(state: ChargerState, point: ChargePoint, soc: float, at: str) -> ChargerState:
    """Return the state of a charger after a state of charge was measured, in % at an instant."""
    return follow(replace(state, soc=soc, soc_at=at), point)


def go_offline(state: ChargerState) -> ChargerState:
    """Return the state of a charger that has been disconnected for too long."""
    return replace(state, state="offline", status=Status.UNAVAILABLE)


def _running(point: ChargePoint) -> Transaction | None:
    return next((each for each in reversed(point.transactions) if each.ended_at is None), None)


def _status(soc: float | None, point: ChargePoint) -> Status:
    """Return what the widget shows. In OCPP 2.0.1 the status of a connector says less than the state of its transaction."""
    if soc is not None:
        return status_of(soc)
    reported = set(point.connectors.values()) | {each.charging_state for each in point.transactions if each.ended_at is None}
    if CHARGING in reported:
        return Status.CHARGING
    return Status.CHARGED if reported.intersection(FULL) else Status.UNAVAILABLE
