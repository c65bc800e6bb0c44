"""Storage: the statements with which a watch follows what is recorded, a piece at a time."""

import re

from broker.contract import device_filters
from broker.contract.charging.topics import SOC
from broker.contract.energy.topics import RAW
from broker.contract.heating.topics import READING as ROOM_READING
from broker.contract.machines.topics import READING as MACHINE_READING
from broker.contract.replay import SOURCE as REPLAY
from broker.contract.sql import Statement, literal
from broker.mqtt.topics import filter_pattern
from broker.stamp import HISTORY

MOST_PUBLISHERS, MOST_SYSTEMS = 2_000, 50
LATEST_S = 4e10
"""Instants are limited to 1970 and this, s since 1970: the year 3237."""
LATE_S = 60
"""A value is late if it arrives this long after the instant of the plant that it describes, s."""
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


_FIELD = """
WITH found AS (
    SELECT number, retain, epoch_us(received_at) / 1e6 AS at_s, {value} AS value{marked}
    FROM messages WHERE topic = $topic AND {condition}
)
"""
_MARK = f"""CASE WHEN source = '{REPLAY}' THEN 'replayed' WHEN starts_with(boot, '{HISTORY}') THEN 'history'
         WHEN {{event}} < received_at - INTERVAL {LATE_S} SECOND THEN 'late' END"""

# The condition on the value is not in WHERE: there it would be pushed down to the scan, and each payload parsed twice.
_SERIES = """
, finite AS (
    SELECT CASE WHEN isfinite(value) THEN number END AS number, CASE WHEN isfinite(value) THEN at_s END AS at_s,
           CASE WHEN isfinite(value) THEN value END AS value, retain
    FROM found
)
SELECT min(at_s) AS first_s, arg_min(value, number) AS first, arg_min(at_s, value) AS lowest_s, min(value) AS lowest,
       arg_max(at_s, value) AS highest_s, max(value) AS highest, max(at_s) AS last_s, arg_max(value, number) AS last,
       count(value) AS count, max(number) AS number, arg_max(retain, number) AS retained
FROM finite GROUP BY floor((at_s - $from_s) / $width_s) HAVING count(value) > 0 ORDER BY first_s
"""

_MARKS = """
SELECT mark, min(at_s) AS at_s, arg_min(value, number) AS value, count(*) AS count
FROM found WHERE isfinite(value) GROUP BY mark, floor((at_s - $from_s) / $width_s) ORDER BY at_s
"""

_VALUES = "SELECT number, at_s, value, mark, event_s FROM found WHERE isfinite(value) ORDER BY number DESC LIMIT $rows"
_AFTER = "SELECT number, at_s, value, mark, event_s FROM found ORDER BY number LIMIT 10000"

_MESSAGES = """
SELECT number, epoch_us(received_at) / 1e6 AS at_s, epoch_us(event_at) / 1e6 AS plant_s,
       coalesce(payload, '(' || octet_length(payload_raw) || ' bytes)') AS payload, source, boot, seq, qos, retain
FROM messages WHERE topic = $topic AND ($before IS NULL OR number < $before) ORDER BY number DESC LIMIT $rows
"""

_EXPORT_PARTS = """
SELECT min(number) AS first, max(number) AS last, count(*) AS rows,
       sum(coalesce(strlen(payload), octet_length(payload_raw), 0))::BIGINT AS bytes
FROM messages WHERE topic = $topic GROUP BY number // 10000 ORDER BY first
"""
_EXPORT = """
SELECT number, received_at, event_at, topic, payload, payload_raw, qos, retain, source, boot, seq
FROM messages WHERE topic = $topic AND number BETWEEN {first} AND {last} ORDER BY number
"""

_AS_OF = """
SELECT topic, payload, payload_raw, epoch_us(received_at) / 1e6 AS at_s, event_at, retain, qos, source, boot, seq, number
FROM messages WHERE number IN (
    SELECT max(number) FROM messages WHERE {condition} GROUP BY topic HAVING regexp_full_match(topic, {filters})
) ORDER BY number LIMIT {most}
"""

_TABLES = """
SELECT table_name AS "table", string_agg(column_name || ' ' || lower(data_type), ', ' ORDER BY ordinal_position) AS columns
FROM information_schema.columns WHERE table_schema = 'main' GROUP BY table_name ORDER BY table_name
"""


def series(topic: str, field: str, from_s: float, until_s: float, points: int) -> Statement:
    """Return the statement for a numeric field of a topic, with as many parts of time as there are points.

    A row is a part with values: its first, lowest, highest and last value, each with its instant (`first`, `first_s`), the
    number of values, the highest message number, and whether the last message is retained. This draws the same line as all
    values would (M4: Jugel et al., "M4: A Visualization-Oriented Time Series Data Aggregation", VLDB 2014).

    Args:
        topic: a topic, without wildcards.
        field: path such as `value` or `heat.power`; empty: the payload itself is the number. A backslash before a dot or
            another backslash makes it part of a name; whole numbers are names, or places in an array.
        from_s: first instant, wall time, s since 1970.
        until_s: last instant.
        points: number of parts, at least 1.
    """
    from_s, until_s = (min(max(each, 0.0), LATEST_S) for each in (from_s, until_s))
    width_s = max((until_s - from_s) / max(1, points), 1e-6)
    return _field(topic, field, _SERIES, _between(from_s, until_s), width_s=width_s, from_s=from_s, until_s=until_s)


def marks(topic: str, field: str, from_s: float, until_s: float, points: int, until_number: int) -> Statement:
    """Return the statement for the late and replayed values of a field, in as many parts of time as there are points.

    A row is a part with such values: `mark`, `at_s` and `value` of the first, and their `count`. `mark` is `replayed` or
    `history` as the stamp says (`broker.contract.replay`, `broker.stamp.HISTORY`), or `late` where a value arrived `LATE_S`
    or more after the plant time that it describes. Messages with a higher number than `until_number` do not count.
    """
    from_s, until_s = (min(max(each, 0.0), LATEST_S) for each in (from_s, until_s))
    width_s = max((until_s - from_s) / max(1, points), 1e-6)
    condition = f"number <= $until_number AND {_between(from_s, until_s)} AND {_mark(topic)} IS NOT NULL"
    return _field(topic, field, _MARKS, condition, width_s=width_s, from_s=from_s, until_number=until_number)


def values(topic: str, field: str, from_s: float, until_s: float, rows: int) -> Statement:
    """Return the statement for the newest values of a field between two instants.

    Its rows have `number`, `at_s`, `value`, `mark` (as for `marks`, or null) and `event_s`, the plant time, or null.
    """
    return _field(topic, field, _VALUES, _between(from_s, until_s), from_s=from_s, until_s=until_s, rows=rows)


def after(topic: str, field: str, number: int, from_s: float = 0.0) -> Statement:
    """Return the statement for the values of a field in messages with a higher number, as for `values`; a value may be null.

    Args:
        topic: a topic, without wildcards.
        field: as for `series`.
        number: of a message; 0 where none is known.
        from_s: earlier messages do not count, wall time, s since 1970.
    """
    return _field(topic, field, _AFTER, f"number > $after AND {_between(from_s, LATEST_S)}", after=number)


def messages(topic: str, rows: int, before: int | None = None) -> Statement:
    """Return the statement for the newest messages of a topic, of those with a lower number than `before`."""
    return Statement(_MESSAGES, {"topic": topic, "rows": rows, "before": before})


def export_parts(topic: str) -> Statement:
    """Return the statement for the extent of all messages of a topic, in parts of at most 10,000.

    Its rows, in order, have the `first` and the `last` number of a part, the count of its `rows`, and the `bytes` of payload.
    """
    return Statement(_EXPORT_PARTS, {"topic": topic})


def export(topic: str, first: int, last: int) -> Statement:
    """Return the statement for the messages of a topic with the numbers `first` to `last`, as `scaup export` writes them."""
    return Statement(_EXPORT.format(first=int(first), last=int(last)), {"topic": topic})


def as_of(filters: "list[str] | tuple[str, ...]", at_s: float, since_s: float = 0.0, most: int = 100_000) -> Statement:
    """Return the statement for the last message of each topic that matches a filter, as of an instant.

    Args:
        filters: MQTT filters, at least one; `#` selects topics that begin with `$`, too.
        at_s: the instant, wall time, s since 1970.
        since_s: earlier messages do not count.
        most: rows at most.
    """
    return Statement(_AS_OF.format(condition=_between(since_s, at_s), filters=_any_of(filters), most=most), {})


def tables() -> Statement:
    """Return the statement for all tables and views, each with its columns in one text."""
    return Statement(_TABLES, {})


def _between(from_s: float, until_s: float) -> str:
    """Return the condition on the instants, as literals: parameters would keep the database from skipping what is outside."""
    from_us, until_us = (round(min(max(each, 0.0), LATEST_S) * 1e6) for each in (from_s, until_s))
    return f"received_at >= make_timestamptz({from_us}) AND received_at < make_timestamptz({until_us})"


def _field(topic: str, field: str, selected: str, condition: str, **parameters: float) -> Statement:
    value = "TRY_CAST(TRY(payload->>$path) AS DOUBLE)"
    used = {name: each for name, each in parameters.items() if f"${name}" in selected or f"${name}" in condition}
    marked = f", {_mark(topic)} AS mark, epoch_us({_event(topic)}) / 1e6 AS event_s" if "mark" in selected else ""
    sql = _FIELD.format(value=value, marked=marked, condition=condition) + selected
    return Statement(sql, {"topic": topic, "path": pointer(field), **used})


def _event(topic: str) -> str:
    """Return the expression for the plant time that a message describes: machines write it into their readings."""
    in_payload = MACHINE_READING.template.parse(topic) is not None
    return "coalesce(event_at, TRY_CAST(TRY(payload->>'timestamp') AS TIMESTAMPTZ))" if in_payload else "event_at"


def _mark(topic: str) -> str:
    return _MARK.format(event=_event(topic))


def pointer(field: str) -> str:
    """Return the JSON pointer (RFC 6901) of a field's path, `$` for an empty one."""
    names = [re.sub(r"\\(.)", r"\1", each) for each in re.findall(r"(?:[^.\\]|\\.?)+", field, re.DOTALL)]
    return "".join("/" + each.replace("~", "~0").replace("/", "~1") for each in names) or "$"
