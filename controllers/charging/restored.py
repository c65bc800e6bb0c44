"""What an earlier run left on the bus, checked as if a stranger had written it."""

from datetime import datetime

from msgspec.structs import replace

from broker.contract.charging.topics import STATE, ChargerState
from broker.errors import Rejected
from broker.message import Message
from broker.stamp import rfc3339
from controllers.charging.pairs import id_error
from controllers.charging.redelivery import FIRST_YEAR


def restored(charger: str, message: Message) -> ChargerState:
    """Read a charger's retained state.

    Raises:
        Rejected: it is not JSON, not of this shape, of a charger or widget that cannot exist, or names an instant that is none.
    """
    state = STATE.decode(message)
    for text in (charger, state.widget):
        if reason := id_error(text):
            raise Rejected(f"{text[:80]!a}: {reason}")
    session = state.session
    if session is not None:
        session = replace(session, started_at=_instant(session.started_at))
    return replace(state, soc_at=None if state.soc_at is None else _instant(state.soc_at), session=session)


def _instant(text: str) -> str:
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None and instant.year >= FIRST_YEAR:
            return rfc3339(instant)
    except (ValueError, OverflowError):
        pass
    raise Rejected(f"{text[:80]!a} is no instant with an offset, such as 2026-01-31T08:00:00Z")
