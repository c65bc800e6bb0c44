"""Recorded and live messages as rows of the same shape."""

from typing import Any

from adapters.cli.output.lines import COLUMNS
from adapters.cli.output.output import Format
from adapters.client.bus import Received
from broker.stamp import read_stamp

_SHOWN = "received_at, topic, coalesce(payload, '(' || octet_length(payload_raw) || ' bytes)') AS payload"


def shown_columns(output_format: Format) -> str:
    """Return the SELECT list for messages: all columns for programs, the few that fit on a line for people."""
    return _SHOWN if output_format in (Format.TABLE, Format.MARKDOWN) else ", ".join(COLUMNS)


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
