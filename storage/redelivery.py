"""Recognises messages that the broker delivers again although they are committed.

A crash, or a lost connection, between commit and acknowledgement makes the broker deliver a message again: in the same session,
with the DUP flag and the same packet identifier (MQTT 5 section 4.4). Identifiers come in sequence, so the last 65,535 rows of
the session hold each identifier once.

The receive maximum should keep far fewer unacknowledged. But Mosquitto 2.0.11 no longer heeds it in a resumed session: it sends
as much as the sockets take, and when they freeze with acknowledgements unread, more than 65,535 messages can come again. Older
rows therefore count too where nothing else in sight has the same topic, payload and stamp: a payload that is sent over and over
could be a new message, and a doubled one is better than a lost one.
"""

import hashlib
from typing import Any

from duckdb import DuckDBPyConnection

from broker.packets import Delivery
from storage.batch import delivery_stamp

RECEIVE_MAXIMUM = 10_000
"""Unacknowledged deliveries: high enough never to stall the broker, far below the number of packet identifiers."""
PACKET_IDENTIFIERS = 65_535
ROWS_IN_SIGHT = 250_000

_LAST_ROWS = """
WITH sight AS (
    SELECT *, md5(coalesce(payload_raw, encode(payload))) AS digest FROM messages
    WHERE number BETWEEN $until - $rows * 2 AND $until AND session = $session AND packet_id IS NOT NULL
    ORDER BY number DESC LIMIT $rows)
SELECT packet_id, topic, digest, qos, retain, boot, seq FROM sight
QUALIFY row_number() OVER (ORDER BY number DESC) <= $identifiers OR count(*) OVER (PARTITION BY topic, digest, boot, seq) = 1
ORDER BY number
"""


class Committed:
    """What the previous connections of a session committed last, by packet identifier."""

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        self._contents: dict[int, list[tuple[Any, ...]]] = {}
        for packet_id, *content in rows:
            self._contents.setdefault(packet_id, []).append(tuple(content))

    @classmethod
    def load(cls, connection: DuckDBPyConnection, session: int, until: int) -> "Committed":
        """Read the last rows of `session` from the database, up to message number `until`."""
        values = {"rows": ROWS_IN_SIGHT, "identifiers": PACKET_IDENTIFIERS, "session": session, "until": until}
        return cls(connection.execute(_LAST_ROWS, values).fetchall())

    def recognises(self, delivery: Delivery) -> bool:
        """Tell whether this is the second delivery of a committed message. Each is recognised once."""
        if not delivery.dup or (contents := self._contents.get(delivery.packet_id)) is None:
            return False
        content = _content(delivery)
        if content not in contents:
            return False
        contents.remove(content)
        return True


def _content(delivery: Delivery) -> tuple[Any, ...]:
    digest = hashlib.md5(delivery.payload, usedforsecurity=False).hexdigest()
    stamp = delivery_stamp(delivery)
    return (delivery.topic, digest, delivery.qos, delivery.retain, stamp.boot, stamp.seq)
