"""The SQL of the ledger, about the messages with numbers from `$low` to `$high`."""

HAS_NUMBERS = "SELECT count(*) AS found FROM information_schema.tables WHERE table_name = 'expired_message'"

BOUNDS = """
WITH numbers AS (SELECT max(number) AS number FROM messages {typed}
                 UNION ALL SELECT max(last_number) FROM archive_file WHERE state = 'archived')
SELECT coalesce((SELECT max(number) FROM numbers), 0) AS high,
       (SELECT min(number) FROM messages WHERE received_at >= $since::TIMESTAMPTZ) AS low,
       coalesce((SELECT min(started_at) FROM mqtt_session), (SELECT arg_min(received_at, number) FROM messages)) AS start_at
"""
"""The highest number, also if only a typed row still has it; the first number since `$since`; the begin of the recording."""
TYPED_NUMBERS = "UNION ALL SELECT max(number) FROM {table}"

PIECES = """
SELECT number // {size} AS piece, count(*) AS rows FROM ({numbers}) WHERE number BETWEEN $low AND $high
GROUP BY piece ORDER BY piece
"""

RUNS = """
WITH stamped AS (
    SELECT number, topic, source, boot, seq, received_at, retain FROM messages
    WHERE number BETWEEN $low AND $high AND seq > 0 AND source IS NOT NULL AND boot IS NOT NULL {condition}
), origins AS (
    SELECT source, topic, {claimed} AS claimed FROM (SELECT DISTINCT source, topic FROM stamped)
), signed AS (
    SELECT number, source, boot, seq, received_at, retain, claimed, if(claimed, -seq, seq) AS key, if(claimed, -1, 1) AS step
    FROM stamped JOIN origins USING (source, topic)
), edges AS (
    SELECT source, boot, seq, received_at, retain, claimed, row_number() OVER arrival AS place,
           lag(key) OVER arrival IS DISTINCT FROM key - step AS begins,
           lead(key) OVER arrival IS DISTINCT FROM key + step AS ends
    FROM signed
    WINDOW arrival AS (PARTITION BY source, boot ORDER BY number) QUALIFY begins OR ends
), runs AS (
    SELECT source, boot, place, claimed, begins, seq AS first, received_at AS first_at,
           if(ends, seq, lead(seq) OVER places) AS last, if(ends, received_at, lead(received_at) OVER places) AS last_at,
           if(ends, retain, lead(retain) OVER places) AS last_retained
    FROM edges WINDOW places AS (PARTITION BY source, boot ORDER BY place)
)
SELECT source, boot, claimed, first, last, first_at, last_at, last_retained FROM runs WHERE begins ORDER BY source, boot, place
"""
"""Runs of consecutive numbers of each start of a publisher, all claimed or none, in the order of arrival."""

EARLIER = """
WITH stamped AS (
    SELECT topic, source, boot, seq FROM messages
    WHERE number BETWEEN $low AND $high AND seq > 0 AND source IS NOT NULL AND boot IS NOT NULL
), origins AS (
    SELECT source, topic, {claimed} AS claimed FROM (SELECT DISTINCT source, topic FROM stamped)
), active AS (
    SELECT source, boot, min(seq) AS least, min(seq) FILTER (NOT claimed) AS least_proven
    FROM stamped JOIN origins USING (source, topic) GROUP BY source, boot
)
SELECT source, boot, any_value(least) AS least, any_value(least_proven) AS least_proven, max(seq) AS known
FROM messages JOIN active USING (source, boot) WHERE number < $low AND seq > 0 GROUP BY source, boot
"""
"""For each start of a publisher with earlier messages: its lowest number in the window, the lowest of those that are not
claimed, and its highest before."""

EXPIRED = """
SELECT source, boot, sum(messages)::BIGINT AS messages, min(day) AS first_day, max(day) AS last_day FROM expired_message
WHERE day >= coalesce($since::TIMESTAMPTZ::DATE, '-infinity'::DATE) GROUP BY source, boot
"""

WITNESS = """
SELECT (SELECT coalesce(sum(messages), 0)::BIGINT FROM expired_message) AS expired,
       (SELECT count(*) FROM archive_file WHERE state = 'archived') AS files,
       (SELECT max(archived_at) FROM archive_file WHERE state = 'archived') AS newest_at
"""
"""Changes when the archive or the retention policy changes something."""

TAIL = "SELECT coalesce(max(number), 0) AS high, now() AS at FROM messages"

NUMBERS = """
SELECT count(*) AS rows, count(DISTINCT number) AS numbers, min(number) AS first, max(number) AS last,
       arg_min(received_at, number) AS first_at, arg_max(received_at, number) AS last_at
FROM messages WHERE number BETWEEN $low AND $high
"""

HOLES = """
SELECT before + 1 AS first, number - 1 AS last, before_at AS after_at, received_at AS before_at FROM (
    SELECT number, received_at, lag(number) OVER numbers AS before, lag(received_at) OVER numbers AS before_at
    FROM messages WHERE number BETWEEN $low AND $high WINDOW numbers AS (ORDER BY number))
WHERE number > before + 1
ORDER BY first LIMIT 1000
"""

TWICE = """
SELECT number FROM messages WHERE number BETWEEN $low AND $high GROUP BY number HAVING count(*) > 1 ORDER BY number LIMIT 10
"""

ARCHIVED = """
SELECT day, path, rows, first_number, last_number FROM archive_file
WHERE state = 'archived' AND name = 'messages' AND last_number >= $low ORDER BY day, path
"""

IN_FILE = """
SELECT count(*) AS rows FROM messages WHERE number BETWEEN $low AND $high
    AND received_at >= $day::TIMESTAMPTZ AND received_at < $day::TIMESTAMPTZ + INTERVAL 1 DAY
"""
