"""Detection of messages that the broker delivers again although they are committed.

A crash, or a lost connection, between commit and acknowledgement makes the broker deliver a message again: in the same session,
with the DUP flag and the same packet identifier (MQTT 5 section 4.4). Identifiers come in sequence, so the last 65,535 rows of
the session hold each identifier once.

The receive maximum should limit the unacknowledged messages to far fewer. But Mosquitto 2.0.11 ignores it in a resumed session:
it sends as much as the sockets take, so more than 65,535 messages can be delivered again. Rows before the last 65,535 are
therefore looked at too, but count only if no other of the last `LOOKBACK_MESSAGES` has the same topic, payload and stamp. A
payload that is sent over and over could be a new message, and a doubled message is better than a lost one.
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
LOOKBACK_MESSAGES = 500_000

_RECENT = "number BETWEEN $until - $lookback AND $until AND session = $session AND packet_id IS NOT NULL"
_FIRST_CERTAIN = f"""
SELECT coalesce(min(number), 0) FROM (SELECT number FROM {{messages}} WHERE {_RECENT} ORDER BY number DESC LIMIT $identifiers)
"""
_CANDIDATES = f"""
SELECT packet_id, number, topic, coalesce(payload_raw, encode(payload)), qos, retain, boot, seq FROM {{messages}}
WHERE {_RECENT} AND packet_id IN (SELECT unnest($identifiers)) ORDER BY number DESC
"""
_UNIQUE = f"""
SELECT number FROM (
    SELECT min(number) AS number FROM {{messages}} WHERE {_RECENT}
    GROUP BY topic, payload, payload_raw, boot, seq HAVING count(*) = 1)
WHERE number IN (SELECT unnest($numbers))
"""


class CommittedMessages:
    """The messages that earlier connections of a session committed, up to the message `until`. They are read on demand."""

    def __init__(self, session: int, until: int) -> None:
        self._messages = ""
        self._values = {"session": session, "until": until, "lookback": LOOKBACK_MESSAGES}
        self._first_certain: int | None = None
        self._matched: set[int] = set()

    def find_redelivered(self, connection: DuckDBPyConnection, archive: Path, deliveries: list[Delivery]) -> list[Delivery]:
        """Return the deliveries that repeat a committed message. Each committed message matches one delivery at most."""
        flagged = [delivery for delivery in deliveries if delivery.dup]
        self._messages = messages_since(connection, archive, self._values["until"] - LOOKBACK_MESSAGES)
        matched = self._match(flagged, self._candidates(connection, flagged))
        certain = self._certain(connection, matched)
        self._matched.update(certain)
        return [delivery for number, delivery in matched.items() if number in certain]

    def _candidates(self, connection: DuckDBPyConnection, deliveries: list[Delivery]) -> dict[int, dict[int, tuple[Any, ...]]]:
        """Return the content of the rows with the identifiers of `deliveries`, by identifier, then by number, newest first."""
        values = {**self._values, "identifiers": sorted({delivery.packet_id for delivery in deliveries})}
        found: dict[int, dict[int, tuple[Any, ...]]] = {}
        for packet_id, number, *content in connection.execute(_CANDIDATES.format(messages=self._messages), values).fetchall():
            if number not in self._matched:
                found.setdefault(packet_id, {})[number] = tuple(content)
        return found

    @staticmethod
    def _match(deliveries: list[Delivery], candidates: dict[int, dict[int, tuple[Any, ...]]]) -> dict[int, Delivery]:
        """Return the deliveries that have the content of a candidate, by the candidate's number."""
        matched = {}
        for delivery in deliveries:
            rows, content = candidates.get(delivery.packet_id, {}), _content(delivery)
            if (number := next((each for each, row in rows.items() if row == content), None)) is not None:
                del rows[number]
                matched[number] = delivery
        return matched

    def _certain(self, connection: DuckDBPyConnection, matched: dict[int, Delivery]) -> set[int]:
        """Return the numbers that are recent enough, or whose content is unique."""
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
