"""What was lost and doubled: the publishers' own records against the database."""

from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.query.sandbox import open_read_only
from tests.crash.sending import TOPICS, Record

_ROWS = f"SELECT payload, epoch_us(received_at) FROM messages WHERE topic LIKE '{TOPICS}'"

_UNTYPED = f"""
WITH raw AS (SELECT json_extract_string(payload, '$.sensorID') AS sensor, count(*) AS copies
             FROM messages WHERE topic LIKE '{TOPICS}' GROUP BY sensor),
     typed AS (SELECT sensor, count(*) AS copies FROM room_temperature WHERE room LIKE 'crash-%' GROUP BY sensor)
SELECT count(*) FROM raw FULL JOIN typed USING (sensor) WHERE raw.copies IS DISTINCT FROM typed.copies
"""

_RECOGNISED = """
SELECT coalesce(sum(most), 0)::BIGINT FROM (
    SELECT max(json_extract(payload, '$.duplicates')::BIGINT) AS most FROM messages WHERE topic = 'storage/stats' GROUP BY boot)
"""

STRAGGLERS_S = 0.2
"""How long the recorder may take to read what a broker had sent when it was killed; it is not started again before."""

Row = tuple[str, int]
"""Payload of a recorded message and the microsecond of its arrival."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Numbers of messages."""

    published: int
    """Sendings that the broker acknowledged."""
    recorded: int
    """Those of them that are in the database."""
    doubled: int
    """Second and further rows of one sending."""
    delivered_anew: int
    """The same, where the broker was killed in between and came back with an older state.

    Mosquitto then delivers as new messages, without the DUP flag, what it had saved as queued and had delivered since.
    """
    sent_twice: int
    """Messages that a publisher sent again, for want of an acknowledgement, although the first attempt is recorded."""
    strange: int
    """Recorded messages that nobody sent: an altered payload would be one."""
    untyped: int
    """Messages whose number of rows in the typed table is another than in `messages`."""
    recognised: int
    """Redeliveries that the recorder recognised, as far as it could say so before it was killed."""

    oldest_lost_s: float | None
    """Of what was lost: the longest time from its acknowledgement to the next kill of the broker, None where neither was."""

    @property
    def lost(self) -> int:
        return self.published - self.recorded

    @property
    def exact(self) -> bool:
        """Nothing lost and nothing doubled, by anyone but a publisher."""
        return not (self.lost or self.doubled or self.delivered_anew)

    @property
    def sound(self) -> bool:
        """What no cause excuses: nothing altered, raw and typed tables in agreement."""
        return not (self.strange or self.untyped)


def count(record: Record, rows: Iterable[Row], killed_s: Sequence[float], untyped: int, recognised: int) -> Count:
    """Compare what publishers know with the rows of a database.

    `killed_s` are the wall times in seconds, oldest first, at which the broker was killed.
    """
    sent = {each.payload: each for each in record.sent}
    deliveries = Counter((payload, bisect(killed_s, at_us / 1e6 - STRAGGLERS_S)) for payload, at_us in rows)
    copies = Counter(payload for payload, _ in deliveries)
    recorded = {sent[payload] for payload in copies if payload in sent}
    messages = {(each.publisher, each.number) for each in recorded}
    return Count(
        published=len(record.acknowledged),
        recorded=len(record.acknowledged.keys() & recorded),
        doubled=deliveries.total() - len(deliveries),
        delivered_anew=copies.total() - len(copies),
        sent_twice=len(recorded) - len(messages),
        strange=sum(payload not in sent for payload in copies),
        untyped=untyped,
        recognised=recognised,
        oldest_lost_s=_oldest({at_s for each, at_s in record.acknowledged.items() if each not in recorded}, killed_s),
    )


def count_in(database: Path, record: Record, killed_s: Sequence[float]) -> Count:
    """Compare what publishers know with the database of a recorder that has stopped."""
    with open_read_only(database) as connection:
        rows = connection.execute(_ROWS).fetchall()
        untyped, recognised = (int(connection.execute(sql).fetchall()[0][0]) for sql in (_UNTYPED, _RECOGNISED))
    return count(record, rows, killed_s, untyped, recognised)


def _oldest(lost_s: set[float], killed_s: Sequence[float]) -> float | None:
    ages_s = (killed_s[kill] - at_s for at_s in lost_s if (kill := bisect(killed_s, at_s)) < len(killed_s))
    return max(ages_s, default=None)
