"""Recorded and live messages as rows of the same shape."""

from typing import Any

from adapters.client.bus import Received

COLUMNS = ("received_at", "event_at", "topic", "payload", "payload_raw", "qos", "retain", "source", "boot", "seq")
"""The columns of `messages` that a live message has too."""


def live_row(received: Received) -> tuple[Any, ...]:
    """Return a received message as a row of `COLUMNS`; stamps that are not what Scaup writes are left out."""
    text, raw = _text(received.payload)
    return (
        received.at,
        received.stamp.plant_at,
        received.topic,
        text,
        raw,
        received.qos,
        received.retain,
        received.stamp.source,
        received.stamp.boot,
        received.stamp.seq,
    )


def _text(payload: bytes) -> tuple[str | None, bytes | None]:
    try:
        return payload.decode(), None
    except UnicodeDecodeError:
        return None, payload
