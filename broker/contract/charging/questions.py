"""Charging: statements about recorded sessions, for `scaup chargers sessions`."""

from datetime import UTC, datetime

from broker.contract.sql import Statement

_SESSIONS = """
SELECT session, charger, widget, started_at, ended_at, soc_start, soc_end, duration_s, ended_by FROM charging_session
WHERE revised_at >= $since::TIMESTAMPTZ AND (charger = $charger OR CAST($charger AS VARCHAR) IS NULL)
ORDER BY started_at, coalesce(ended_at, 'infinity'), charger, session
"""


def sessions(charger: str | None, since_at: datetime) -> Statement:
    """Return the statement for the sessions that began or ended in the period, of one charger or of all, newest last.

    The period is in wall time, as everywhere; the instants of a session are plant time.
    """
    return Statement(_SESSIONS, {"charger": charger, "since": since_at.astimezone(UTC).isoformat()})
