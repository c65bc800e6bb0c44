"""Energy: statements about recorded quarters, for `scaup energy`. Times are the beginnings of quarters, not their arrival."""

from datetime import UTC, datetime

from broker.contract.identifiers import number_sql
from broker.contract.sql import Statement

_EXTENT = """
SELECT min(start_at) AS first_at, max(start_at) + INTERVAL 15 MINUTE AS end_at FROM energy_interval WHERE ship = $ship
"""

_QUARTERS = """
SELECT start_at, kwh, quality, coverage, negative, revised_at FROM energy_interval
WHERE ship = $ship AND start_at >= $since::TIMESTAMPTZ AND start_at < $until::TIMESTAMPTZ ORDER BY start_at
"""

_ANOMALIES = """
SELECT start_at, kind, max_by({kwh: kwh, expected_kwh: expected_kwh, text: text}, number) AS last
FROM energy_anomaly
WHERE ship = $ship AND start_at >= $since::TIMESTAMPTZ AND start_at < $until::TIMESTAMPTZ AND kind IS NOT NULL
GROUP BY start_at, kind ORDER BY start_at, kind
"""

_SHIPS = f"""
SELECT ship, min(start_at) AS first_at, max(start_at) AS last_at, count(*) AS quarters, sum(kwh) AS kwh,
       sum(coverage) / (date_diff('minute', min(start_at), max(start_at)) / 15 + 1) AS coverage,
       max(revised_at) AS revised_at
FROM energy_interval GROUP BY ship ORDER BY {number_sql("ship")}, ship
"""  # noqa: S608, it is made of constants


def extent(ship: str) -> Statement:
    """Return the statement for the beginning of a ship's first quarter and the end of its last; null where it has none."""
    return Statement(_EXTENT, {"ship": ship})


def quarters(ship: str, since_at: datetime, until_at: datetime) -> Statement:
    """Return the statement for a ship's quarters that begin in a period, in order."""
    return Statement(_QUARTERS, _period(ship, since_at, until_at))


def anomalies(ship: str, since_at: datetime, until_at: datetime) -> Statement:
    """Return the statement for anomalies in a period: the last message about each quarter and kind, as `last`."""
    return Statement(_ANOMALIES, _period(ship, since_at, until_at))


def ships() -> Statement:
    """Return the statement for all ships: `coverage` is the share of the time from the first to the last quarter, 0..1."""
    return Statement(_SHIPS, {})


def _period(ship: str, since_at: datetime, until_at: datetime) -> dict[str, str]:
    return {"ship": ship, "since": since_at.astimezone(UTC).isoformat(), "until": until_at.astimezone(UTC).isoformat()}
