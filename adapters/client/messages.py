"""Recorded and live messages as rows of the same shape."""

from typing import Any

from adapters.client.bus import Received
from broker.stamp import read_stamp

COLUMNS = ("received_at", "event_at", "topic", "payload", "payload_raw", "qos", "retain", "source", "boot", "seq")
"""The columns of `messages` that a live message has too."""


def live_row(received: Received) -> tuple[Any, ...]:
    """Return a received message as a row of `COLUMNS`; stamps that are not what Scaup writes are left out."""
    text, raw = _text(received.payload)
    stamp = read_stamp(received.user)
    return (
        received.at,
        stamp.plant_at,
        received.topic,
        text,
        raw,
        received.qos,
        received.retain,
        stamp.source,
        stamp.boot,
        stamp.seq,
    )


def _text(payload: bytes) -> tuple[str | None, bytes | None]:
    try:
        return payload.decode(), None
    except UnicodeDecodeError:
        return None, payload
