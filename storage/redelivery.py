"""Recognises messages that the broker delivers again although they are committed.

A crash, or a lost connection, between commit and acknowledgement makes the broker deliver a message again: in the same session,
with the DUP flag and the same packet identifier (MQTT 5 section 4.4). Identifiers come in sequence, so the last 65,535 rows of
the session hold every one that can come again. (The receive maximum would be a smaller bound, but Mosquitto 2.0.11 grants it
anew on each reconnect: after a frozen recorder and a frozen broker, 56,000 committed messages came again.)
"""

import hashlib
from typing import Any

from duckdb import DuckDBPyConnection

from broker.packets import Delivery
from storage.batch import delivery_stamp

RECEIVE_MAXIMUM = 10_000
"""Unacknowledged deliveries per connection: high enough never to stall the broker, far below the packet identifiers."""
PACKET_IDENTIFIERS = 65_535

_LAST_ROWS = """
SELECT packet_id, topic, md5(coalesce(payload_raw, encode(payload))), qos, retain, boot, seq FROM (
    SELECT *, rowid AS row FROM messages
    WHERE rowid >= (SELECT coalesce(max(rowid), 0) - $rows * 4 FROM messages) AND session = $session AND packet_id IS NOT NULL
    ORDER BY row DESC LIMIT $rows
) ORDER BY row
"""


class Committed:
    """What the previous connections of this session committed last, by packet identifier."""

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        self._content = {packet_id: content for packet_id, *content in rows}

    @classmethod
    def load(cls, connection: DuckDBPyConnection, session: int) -> "Committed":
        """Read the last rows of `session` from the database."""
        return cls(connection.execute(_LAST_ROWS, {"rows": PACKET_IDENTIFIERS, "session": session}).fetchall())

    def recognises(self, delivery: Delivery) -> bool:
        """Tell whether this is the second delivery of a committed message. Each is recognised once."""
        if not delivery.dup or self._content.get(delivery.packet_id) != _content(delivery):
            return False
        del self._content[delivery.packet_id]
        return True


def _content(delivery: Delivery) -> list[Any]:
    digest = hashlib.md5(delivery.payload, usedforsecurity=False).hexdigest()
    stamp = delivery_stamp(delivery)
    return [delivery.topic, digest, delivery.qos, delivery.retain, stamp.boot, stamp.seq]
