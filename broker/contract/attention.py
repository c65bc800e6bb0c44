"""What needs attention, of all systems: statements about the day before an instant, for the page."""

from broker.contract import device_filters
from broker.contract.sql import Statement, literal
from broker.mqtt.topics import filter_pattern
from broker.stamp import HISTORY

WITHIN_S = 86_400.0
MOST_ROWS = 200

_NOTICES = f"""
WITH found AS (
    SELECT 'energy' AS system, ship AS name, count(*) AS count, max(received_at) AS last_at, arg_max(text, number) AS text
    FROM energy_anomaly WHERE kind IS NOT NULL AND {{within}} GROUP BY ship, kind
  UNION ALL
    SELECT 'fastening', driver, count(*), max(received_at),
           arg_max(concat_ws(', ', event, serial, 'step ' || step, torque_nm || ' N·m'), number)
    FROM fastening_event WHERE event IN ('out of range', 'driver silent', 'driver away', 'unusable answer') AND {{within}}
    GROUP BY driver, event
  UNION ALL
    SELECT 'machines', machine, 1, max(received_at), 'status ' || arg_max(status, number) FROM machine_reading
    WHERE received_at >= {{until}} - INTERVAL 1 MINUTE AND received_at < {{until}}
    GROUP BY machine HAVING arg_max(status, number) = 'ERROR'
  UNION ALL
    SELECT 'charging', charger, count(*), max(revised_at), 'disconnected while charging' FROM charging_session
    WHERE ended_by = 'offline' AND NOT starts_with(session, '{HISTORY}')
        AND revised_at >= {{since}} AND revised_at < {{until}} GROUP BY charger
  UNION ALL
    SELECT 'rejected', component, sum(count), max(received_at), arg_max(text, number) FROM (
        SELECT split_part(topic, '/', 2) AS component, number, received_at,
               payload->>'topic' || ': ' || (payload->>'reason') AS text,
               coalesce(TRY_CAST(regexp_extract(right(payload, 40), '"count":([0-9]+)}}}}$', 1) AS BIGINT), 1) AS count
        FROM messages WHERE starts_with(topic, 'rejected/') AND {{within}}
      UNION ALL
        SELECT component, number, received_at, topic || ': ' || reason, 1 FROM rejected_message
        WHERE component = 'recorder' AND {{within}}
    ) GROUP BY component
)
SELECT system, name, count::BIGINT AS count, epoch_us(last_at) / 1e6 AS at_s, text
FROM found ORDER BY last_at DESC LIMIT {MOST_ROWS}
"""  # noqa: S608, it is made of constants

_GAPS = f"""
WITH piece AS (
    SELECT topic, source, boot, seq, received_at FROM messages
    WHERE {{within}} AND seq > 0 AND source IS NOT NULL AND boot IS NOT NULL AND NOT starts_with(boot, '{HISTORY}')
), topics AS (
    SELECT topic FROM (SELECT DISTINCT topic FROM piece) WHERE NOT regexp_full_match(topic, {{free}})
), proven AS (
    SELECT source, boot, min(seq) AS low, max(seq) AS high FROM piece JOIN topics USING (topic)
    WHERE received_at < {{until}} - INTERVAL 10 SECOND GROUP BY source, boot
)
SELECT source, boot, high - low + 1 - count(DISTINCT seq) AS missing, epoch_us(max(received_at)) / 1e6 AS at_s
FROM piece JOIN proven USING (source, boot) WHERE seq BETWEEN low AND high
GROUP BY source, boot, low, high HAVING missing > 0 ORDER BY boot DESC LIMIT {MOST_ROWS}
"""  # noqa: S608, it is made of constants

_PLACES = """SELECT source, boot, earlier + 1 AS first_missing, seq - 1 AS last_missing, after_at, received_at AS before_at
FROM (
    SELECT source, boot, seq, received_at, lag(seq) OVER numbers AS earlier, lag(received_at) OVER numbers AS after_at
    FROM messages WHERE source = {source} AND boot = {boot}
    WINDOW numbers AS (ORDER BY seq)
)
WHERE seq > earlier + 1
ORDER BY first_missing"""


def notices(until_s: float) -> Statement:
    """Return the statement for what happened in the day before an instant, wall time, s since 1970; newest first.

    A row is about one thing: its `system` (or `rejected`, by component), its `name`, how often (`count`), when the last time
    (`at_s`), and the `text` of that. Machines are those whose last reading within a minute says ERROR.
    """
    return Statement(_NOTICES.format(**_period(until_s)), {})


def gaps(until_s: float) -> Statement:
    """Return the statement for starts of publishers of which messages are `missing` in the day before an instant.

    Only numbers between recorded ones count, on topics that only components publish to; numbers of the last ten seconds may
    still come. `scaup gaps` looks at all of the recording.
    """
    free = literal(f"(?s)({'|'.join(map(filter_pattern, device_filters()))})")
    return Statement(_GAPS.format(free=free, **_period(until_s)), {})


def gap_places(source: str, boot: str) -> str:
    """Return the query that lists the missing numbers of a start of a publisher, to be shown to people."""
    return _PLACES.format(source=literal(source), boot=literal(boot))


def _period(until_s: float) -> dict[str, str]:
    until, since = (f"make_timestamptz({round(min(max(each, 0.0), 4e10) * 1e6)})" for each in (until_s, until_s - WITHIN_S))
    return {"until": until, "since": since, "within": f"received_at >= {since} AND received_at < {until}"}
