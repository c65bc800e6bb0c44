"""Charging sessions of the days before a simulation began, as the charging controller would have published them."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta

from broker.contract.charging.topics import ChargingSession, EndedBy
from broker.stamp import HISTORY, rfc3339
from sim.chargers.model import Stay

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 2 * 3600.0, 8 * 3600.0
"""From one session to the next: fewer customers than later, so that a week of them can still be read."""
FULL_PCT = 100


def past_sessions(
    charger: str, widget: str, seed: int, until_at: datetime, days: int
) -> Iterator[tuple[datetime, ChargingSession]]:
    """Yield the sessions of a charger in the days before `until_at`, complete, each with its end."""
    rng = random.Random(f"past {seed}/{charger}")
    started_at = until_at - timedelta(days=days) + timedelta(seconds=rng.uniform(0.0, LONGEST_PAUSE_S))
    while True:
        stay = Stay.drawn(rng)
        charged_s = min(stay.stays_s, stay.battery.full_after_s)
        ended_at = started_at + timedelta(seconds=charged_s)
        if ended_at >= until_at:
            return
        begun, soc_end = rfc3339(started_at), int(stay.battery.soc_pct(charged_s))
        session = ChargingSession(
            session=f"{HISTORY}{charger}@{begun}",
            widget=widget,
            started_at=begun,
            soc_start=int(stay.battery.arrived_pct),
            ended_at=rfc3339(ended_at),
            soc_end=soc_end,
            duration_s=round(charged_s, 6),
            ended_by=EndedBy.CHARGED if soc_end >= FULL_PCT else EndedBy.REPLACED,
        )
        yield ended_at, session
        started_at = ended_at + timedelta(seconds=rng.uniform(SHORTEST_PAUSE_S, LONGEST_PAUSE_S))
