"""Energy: statements about recorded quarters, for `scaup energy`. Times are the beginnings of quarters, not their arrival."""

from datetime import UTC, datetime

from broker.contract.identifiers import number_sql
from broker.contract.sql import Statement

_EXTENT = """
SELECT min(start_at) AS first_at, max(start_at) + INTERVAL 15 MINUTE AS end_at FROM energy_interval WHERE ship = $ship
"""

_KNOWN_AT = """(
    SELECT ship, start_at, arg_max_null(kwh, number) AS kwh, arg_max(quality, number) AS quality,
           arg_max(coverage, number) AS coverage, arg_max(negative, number) AS negative, max(revised_at) AS revised_at
    FROM energy_revision WHERE revised_at <= $known::TIMESTAMPTZ
    GROUP BY ship, start_at HAVING arg_max_null(kwh, number) IS NOT NULL
)"""
"""As the view `energy_interval`, from what was known at an instant."""

_QUARTERS = """
SELECT start_at, kwh, quality, coverage, negative, revised_at FROM {known}
WHERE ship = $ship AND start_at >= $since::TIMESTAMPTZ AND start_at < $until::TIMESTAMPTZ ORDER BY start_at
"""

_ANOMALIES = """
SELECT start_at, kind, max_by({{kwh: kwh, expected_kwh: expected_kwh, text: text}}, number) AS last
FROM energy_anomaly
WHERE ship = $ship AND start_at >= $since::TIMESTAMPTZ AND start_at < $until::TIMESTAMPTZ AND kind IS NOT NULL{known}
GROUP BY start_at, kind ORDER BY start_at, kind
"""

_NEWEST_ANOMALIES = """
SELECT ship, start_at, kind, max_by({kwh: kwh, expected_kwh: expected_kwh, text: text}, number) AS last
FROM energy_anomaly WHERE kind IS NOT NULL@known
GROUP BY ship, start_at, kind ORDER BY start_at DESC, ship, kind LIMIT $rows
"""

_SHIPS = f"""
WITH known AS (SELECT * FROM @known)
SELECT ship, min(start_at) AS first_at, max(start_at) AS last_at, count(*) AS quarters, sum(kwh) AS kwh,
       sum(coverage) / (date_diff('minute', min(start_at), max(start_at)) / 15 + 1) AS coverage,
       max(revised_at) AS revised_at
FROM known GROUP BY ship ORDER BY {number_sql("ship")}, ship
"""  # noqa: S608, it is made of constants


def extent(ship: str) -> Statement:
    """Return the statement for the beginning of a ship's first quarter and the end of its last; null where it has none."""
    return Statement(_EXTENT, {"ship": ship})


def quarters(ship: str, since_at: datetime, until_at: datetime, known_at: datetime | None = None) -> Statement:
    """Return the statement for a ship's quarters that begin in a period, in order, as they were known at an instant or are."""
    known, parameters = _known(known_at)
    return Statement(_QUARTERS.format(known=known), {**_period(ship, since_at, until_at), **parameters})


def anomalies(ship: str, since_at: datetime, until_at: datetime, known_at: datetime | None = None) -> Statement:
    """Return the statement for anomalies in a period: the last message about each quarter and kind, as `last`."""
    _, parameters = _known(known_at)
    known = " AND received_at <= $known::TIMESTAMPTZ" if parameters else ""
    return Statement(_ANOMALIES.format(known=known), {**_period(ship, since_at, until_at), **parameters})


def newest_anomalies(rows: int, known_at: datetime | None = None) -> Statement:
    """Return the statement for the newest anomalies of all ships, as `anomalies` has those of one."""
    _, parameters = _known(known_at)
    known = " AND received_at <= $known::TIMESTAMPTZ" if parameters else ""
    return Statement(_NEWEST_ANOMALIES.replace("@known", known), {"rows": rows, **parameters})


def ships(known_at: datetime | None = None) -> Statement:
    """Return the statement for all ships: `coverage` is the share of the time from the first to the last quarter, 0..1."""
    known, parameters = _known(known_at)
    return Statement(_SHIPS.replace("@known", known), parameters)


def _known(known_at: datetime | None) -> tuple[str, dict[str, str]]:
    """Return the quarters that are known now, or were at an instant, and the parameters of that."""
    return ("energy_interval", {}) if known_at is None else (_KNOWN_AT, {"known": known_at.astimezone(UTC).isoformat()})


def _period(ship: str, since_at: datetime, until_at: datetime) -> dict[str, str]:
    return {"ship": ship, "since": since_at.astimezone(UTC).isoformat(), "until": until_at.astimezone(UTC).isoformat()}
