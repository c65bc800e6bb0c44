"""Machines: statements about recorded readings and averages, for `scaup machines`."""

from datetime import UTC, datetime

from broker.contract.identifiers import number_sql
from broker.contract.machines.topics import READING
from broker.contract.sql import Statement
from broker.stamp import HISTORY

_IN_PERIOD = f"""received_at >= $since::TIMESTAMPTZ
    AND (NOT coalesce(starts_with(boot, '{HISTORY}'), false) OR event_at >= $since::TIMESTAMPTZ)"""
"""Simulated history is received at once: there the plant time decides."""

_SERIES = f"""
SELECT coalesce(CASE WHEN json_type(payload, '/timestamp') = 'VARCHAR' THEN payload ->> '/timestamp' END,
                strftime(coalesce(event_at, received_at)::TIMESTAMP, '%Y-%m-%dT%H:%M:%S.%fZ')) AS timestamp,
       TRY_CAST(json_extract(payload, $pointer)::VARCHAR AS DOUBLE) AS value
FROM (SELECT * FROM messages WHERE topic = $topic AND {_IN_PERIOD} AND json_valid(payload))
ORDER BY number
"""  # noqa: S608, it is made of constants

_LATEST = f"""
SELECT split_part(topic, '/', 2) AS machine,
       max_by(payload, number) FILTER (ends_with(topic, '/reading')) AS reading,
       max_by(payload, number) FILTER (ends_with(topic, '/average')) AS average,
       count(*) FILTER (ends_with(topic, '/reading')) AS readings,
       max_by(received_at, number) FILTER (ends_with(topic, '/reading')) AS received_at
FROM messages WHERE starts_with(topic, 'machines/') AND regexp_full_match(topic, '(?s)machines/[^/]+/(reading|average)')
    AND {_IN_PERIOD} AND CASE WHEN json_valid(payload) THEN json_type(payload) = 'OBJECT' ELSE false END
GROUP BY machine HAVING readings > 0 ORDER BY {number_sql("machine")}, machine
"""  # noqa: S608, it is made of constants

_HAS_READINGS = "SELECT 1 AS recorded FROM messages WHERE topic = $topic LIMIT 1"


def series(machine: str, field: str, since_at: datetime) -> Statement:
    """Return the statement for one field of a machine's readings, oldest first: `timestamp` as it is in the reading.

    A reading without one has its plant time, or the time of its receipt; `value` is null where there is no number.
    """
    pointer = "/" + field.replace("~", "~0").replace("/", "~1")
    return Statement(_SERIES, {"topic": READING.template.topic(id=machine), "pointer": pointer, "since": _text(since_at)})


def latest(since_at: datetime) -> Statement:
    """Return the statement for the last reading and the last average of every machine, as JSON text."""
    return Statement(_LATEST, {"since": _text(since_at)})


def has_readings(machine: str) -> Statement:
    """Return the statement that has a row if a reading of the machine was recorded."""
    return Statement(_HAS_READINGS, {"topic": READING.template.topic(id=machine)})


def _text(instant_at: datetime) -> str:
    return instant_at.astimezone(UTC).isoformat()
