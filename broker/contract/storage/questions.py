"""Storage: the statements with which a watch follows what is recorded, a piece at a time."""

from broker.contract import device_filters
from broker.contract.charging.topics import SOC
from broker.contract.energy.topics import RAW
from broker.contract.heating.topics import READING as ROOM_READING
from broker.contract.machines.topics import READING as MACHINE_READING
from broker.contract.sql import Statement, literal
from broker.mqtt.topics import filter_pattern
from broker.stamp import HISTORY

MOST_PUBLISHERS, MOST_SYSTEMS = 2_000, 50
_READINGS = (ROOM_READING, MACHINE_READING, SOC, RAW)

_NEWEST = "SELECT max(number) AS number FROM messages WHERE received_at >= now() - INTERVAL 1 MINUTE"

_SINCE = """
WITH piece AS (
    SELECT number, topic, source, boot, seq FROM messages WHERE number > $after
), topics AS (
    SELECT topic, count(*) AS messages, regexp_full_match(topic, {free}) AS free,
           regexp_full_match(topic, {readings}) AS reading,
           split_part(if(starts_with(topic, '/'), topic[2:], topic), '/', 1) AS system
    FROM piece GROUP BY topic
), proven AS (
    SELECT source, boot, min(seq) AS low, max(seq) AS high FROM piece JOIN topics USING (topic)
    WHERE seq > 0 AND source IS NOT NULL AND boot IS NOT NULL AND NOT free AND NOT starts_with(boot, '{history}')
    GROUP BY source, boot ORDER BY boot DESC LIMIT {most_publishers}
), machines AS (
    SELECT coalesce(arg_max(status, number), '') AS status FROM machine_reading
    WHERE received_at >= now() - INTERVAL 1 MINUTE GROUP BY machine
)
SELECT 'piece' AS kind, NULL AS name, NULL AS boot, NULL AS low, max(number) AS high, count(*) AS count FROM piece
UNION ALL
SELECT 'publisher', source, boot, low, high, count(DISTINCT seq) FROM piece JOIN proven USING (source, boot)
WHERE seq BETWEEN low AND high GROUP BY source, boot, low, high
UNION ALL
SELECT * FROM (SELECT 'messages', system, NULL, NULL, NULL, sum(messages)::BIGINT FROM topics
               GROUP BY system ORDER BY 6 DESC LIMIT {most_systems})
UNION ALL
SELECT * FROM (SELECT 'readings', system, NULL, NULL, NULL, sum(messages)::BIGINT FROM topics WHERE reading
               GROUP BY system ORDER BY 6 DESC LIMIT {most_systems})
UNION ALL
SELECT * FROM (SELECT 'machines', status, NULL, NULL, NULL, count(*) FROM machines
               GROUP BY status ORDER BY 6 DESC LIMIT {most_systems})
"""


def newest() -> Statement:
    """Return the statement for the `number` of the newest message of the last minute, null if there is none."""
    return Statement(_NEWEST, {})


def since(after: int) -> Statement:
    """Return the statement that sums up the messages with a higher number than `after`.

    Its rows have a `kind`: `piece`, with the highest number and the count of the messages; `publisher`, with the source, the
    boot, and the lowest, the highest and the count of its sequence numbers on topics that only components publish to (claims
    of devices fill holes, as in `scaup gaps`); `messages` and `readings`, with the first level of topics and a count; and
    `machines`, with a status and the count of machines that reported it last within a minute.
    """
    sql = _SINCE.format(
        free=_any_of(device_filters()),
        readings=_any_of([each.template.filter for each in _READINGS]),
        history=HISTORY,
        most_publishers=MOST_PUBLISHERS,
        most_systems=MOST_SYSTEMS,
    )
    return Statement(sql, {"after": after})


def _any_of(filters: "list[str] | tuple[str, ...]") -> str:
    return literal(f"(?s)({'|'.join(map(filter_pattern, filters))})")
