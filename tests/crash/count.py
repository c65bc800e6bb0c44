"""Counts of lost and doubled messages: the publishers' own records against the database."""

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
"""Time for the recorder to read the last messages of a killed broker, which is restarted only afterwards."""

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
    delivered_as_new: int
    """The same, where the broker was killed in between and restored an older state.

    Mosquitto then delivers messages that it had saved as queued, and delivered since, as new: without the DUP flag.
    """
    sent_twice: int
    """Messages that a publisher resent for want of an acknowledgement, although the first attempt is recorded."""
    unknown: int
    """Recorded messages that were never sent, such as an altered payload."""
    untyped: int
    """Messages whose rows in the typed table differ in number from those in `messages`."""
    recognised: int
    """Redeliveries that the recorder recognised, as far as it reported them before it was killed."""

    oldest_lost_s: float | None
    """The longest time from the acknowledgement of a lost message to the next kill of the broker; None where there is none."""

    @property
    def lost(self) -> int:
        return self.published - self.recorded

    @property
    def exact(self) -> bool:
        """Whether nothing was lost, and nothing doubled except by a publisher."""
        return not (self.lost or self.doubled or self.delivered_as_new)

    @property
    def sound(self) -> bool:
        """Whether nothing was altered, and raw and typed tables agree: no cause excuses that."""
        return not (self.unknown or self.untyped)


def count(record: Record, rows: Iterable[Row], killed_s: Sequence[float], untyped: int, recognised: int) -> Count:
    """Compare the publishers' records with the rows of a database.

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
        delivered_as_new=copies.total() - len(copies),
        sent_twice=len(recorded) - len(messages),
        unknown=sum(payload not in sent for payload in copies),
        untyped=untyped,
        recognised=recognised,
        oldest_lost_s=_oldest({at_s for each, at_s in record.acknowledged.items() if each not in recorded}, killed_s),
    )


def count_in(database: Path, record: Record, killed_s: Sequence[float]) -> Count:
    """Compare the publishers' records with the database of a stopped recorder."""
    with open_read_only(database) as connection:
        rows = connection.execute(_ROWS).fetchall()
        untyped, recognised = (int(connection.execute(sql).fetchall()[0][0]) for sql in (_UNTYPED, _RECOGNISED))
    return count(record, rows, killed_s, untyped, recognised)


def _oldest(lost_s: set[float], killed_s: Sequence[float]) -> float | None:
    ages_s = (killed_s[kill] - at_s for at_s in lost_s if (kill := bisect(killed_s, at_s)) < len(killed_s))
    return max(ages_s, default=None)
