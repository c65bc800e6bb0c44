"""Recorded and live messages as rows of the same shape."""

from datetime import UTC, datetime
from typing import Any

from adapters.cli.asking.bus import Received
from adapters.cli.showing.lines import COLUMNS
from adapters.cli.showing.output import Format
from broker.stamp import read_stamp
from storage.topic_sql import Condition, topic_condition

_SHOWN = "received_at, topic, coalesce(payload, '(' || octet_length(payload_raw) || ' bytes)') AS payload"


def shown_columns(output_format: Format) -> str:
    """Return the SELECT list for messages: all columns for programs, the few that fit on a line for people."""
    return _SHOWN if output_format in (Format.TABLE, Format.MARKDOWN) else ", ".join(COLUMNS)


def selection(topic_filter: str, since_at: datetime | None) -> Condition:
    """Return the condition for messages on these topics, received since then."""
    condition = topic_condition(topic_filter)
    if since_at is None:
        return condition
    return condition & Condition("received_at >= $since::TIMESTAMPTZ", {"since": since_at.astimezone(UTC).isoformat()})


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
