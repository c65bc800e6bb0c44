"""Charging: statements about recorded sessions, for `scaup chargers sessions`."""

from datetime import UTC, datetime

from broker.contract.sql import Statement
from broker.stamp import HISTORY

_SESSIONS = f"""
SELECT session, charger, widget, started_at, ended_at, soc_start, soc_end, duration_s, ended_by, connector, kwh
FROM charging_session
WHERE revised_at >= $since::TIMESTAMPTZ AND (NOT starts_with(session, '{HISTORY}') OR ended_at >= $since::TIMESTAMPTZ)
    AND least(started_at, revised_at) < $until::TIMESTAMPTZ
    AND (charger = $charger OR CAST($charger AS VARCHAR) IS NULL)
ORDER BY started_at, coalesce(ended_at, 'infinity'), charger, session
"""  # noqa: S608, it is made of constants


def sessions(charger: str | None, since_at: datetime, until_at: datetime | None = None) -> Statement:
    """Return the statement for the sessions that began or ended in the period, of one charger or of all, newest last.

    The period is in wall time, as everywhere; of simulated history, which is received at once, the end of the session decides.
    The instants of a session are plant time: a session began before `until_at` if it did in either time.
    """
    until = "infinity" if until_at is None else until_at.astimezone(UTC).isoformat()
    return Statement(_SESSIONS, {"charger": charger, "since": since_at.astimezone(UTC).isoformat(), "until": until})
