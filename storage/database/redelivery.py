"""Recognises messages that the broker delivers again although they are committed.

A crash, or a lost connection, between commit and acknowledgement makes the broker deliver a message again: in the same session,
with the DUP flag and the same packet identifier (MQTT 5 section 4.4). Identifiers come in sequence, so the last 65,535 rows of
the session hold each identifier once.

The receive maximum should keep far fewer unacknowledged. But Mosquitto 2.0.11 no longer heeds it in a resumed session: it sends
as much as the sockets take, and when they freeze with acknowledgements unread, more than 65,535 messages can come again. Older
rows therefore count too where nothing else in sight has the same topic, payload and stamp: a payload that is sent over and over
could be a new message, and a doubled one is better than a lost one.
"""

from pathlib import Path
from typing import Any

from duckdb import DuckDBPyConnection

from broker.mqtt.packets import Delivery
from storage.database.batch import delivery_stamp
from storage.schema.views import messages_since

RECEIVE_MAXIMUM = 10_000
"""Unacknowledged deliveries: high enough never to stall the broker, far below the number of packet identifiers."""
PACKET_IDENTIFIERS = 65_535
MESSAGES_IN_SIGHT = 500_000

_IN_SIGHT = "number BETWEEN $until - $sight AND $until AND session = $session AND packet_id IS NOT NULL"
_FIRST_CERTAIN = f"""
SELECT coalesce(min(number), 0) FROM (SELECT number FROM {{messages}} WHERE {_IN_SIGHT} ORDER BY number DESC LIMIT $identifiers)
"""
_CANDIDATES = f"""
SELECT packet_id, number, topic, coalesce(payload_raw, encode(payload)), qos, retain, boot, seq FROM {{messages}}
WHERE {_IN_SIGHT} AND packet_id IN (SELECT unnest($identifiers)) ORDER BY number DESC
"""
_UNIQUE = f"""
SELECT number FROM (
    SELECT min(number) AS number FROM {{messages}} WHERE {_IN_SIGHT}
    GROUP BY topic, payload, payload_raw, boot, seq HAVING count(*) = 1)
WHERE number IN (SELECT unnest($numbers))
"""


class Committed:
    """What earlier connections of a session committed, up to the message `until`. Nothing is read before it is asked for."""

    def __init__(self, session: int, until: int) -> None:
        self._messages = ""
        self._values = {"session": session, "until": until, "sight": MESSAGES_IN_SIGHT}
        self._first_certain: int | None = None
        self._recognised: set[int] = set()

    def again(self, connection: DuckDBPyConnection, archive: Path, deliveries: list[Delivery]) -> list[Delivery]:
        """Return those of `deliveries` that are second deliveries of committed messages. Each message is recognised once."""
        flagged = [delivery for delivery in deliveries if delivery.dup]
        self._messages = messages_since(connection, archive, self._values["until"] - MESSAGES_IN_SIGHT)
        matched = self._match(flagged, self._candidates(connection, flagged))
        certain = self._certain(connection, matched)
        self._recognised.update(certain)
        return [delivery for number, delivery in matched.items() if number in certain]

    def _candidates(self, connection: DuckDBPyConnection, deliveries: list[Delivery]) -> dict[int, dict[int, tuple[Any, ...]]]:
        """Return by identifier, then by number, newest first, what rows with the identifiers of `deliveries` hold."""
        values = {**self._values, "identifiers": sorted({delivery.packet_id for delivery in deliveries})}
        found: dict[int, dict[int, tuple[Any, ...]]] = {}
        for packet_id, number, *content in connection.execute(_CANDIDATES.format(messages=self._messages), values).fetchall():
            if number not in self._recognised:
                found.setdefault(packet_id, {})[number] = tuple(content)
        return found

    @staticmethod
    def _match(deliveries: list[Delivery], candidates: dict[int, dict[int, tuple[Any, ...]]]) -> dict[int, Delivery]:
        """Return the deliveries whose content a candidate has, by the candidate's number."""
        matched = {}
        for delivery in deliveries:
            rows, content = candidates.get(delivery.packet_id, {}), _content(delivery)
            if (number := next((each for each, row in rows.items() if row == content), None)) is not None:
                del rows[number]
                matched[number] = delivery
        return matched

    def _certain(self, connection: DuckDBPyConnection, matched: dict[int, Delivery]) -> set[int]:
        if self._first_certain is None:
            values = {**self._values, "identifiers": PACKET_IDENTIFIERS}
            self._first_certain = int(
                connection.execute(_FIRST_CERTAIN.format(messages=self._messages), values).fetchall()[0][0]
            )
        older = [number for number in matched if number < self._first_certain]
        if not older:
            return {*matched}
        unique = connection.execute(_UNIQUE.format(messages=self._messages), {**self._values, "numbers": older}).fetchall()
        return {*matched} - {*older} | {number for (number,) in unique}


def _content(delivery: Delivery) -> tuple[Any, ...]:
    stamp = delivery_stamp(delivery)
    return (delivery.topic, delivery.payload, delivery.qos, delivery.retain, stamp.boot, stamp.seq)
