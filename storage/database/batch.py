"""From deliveries to one Arrow table: a row per message, in the order of arrival."""

from typing import NamedTuple

import pyarrow as pa

from broker.contract import replay
from broker.mqtt.packets import Delivery, MalformedPacket, parse_properties
from broker.stamp import NO_STAMP, Stamp, read_stamp
from storage.schema.typed_streams import StreamCodes

_TIMESTAMP = pa.timestamp("us", tz="UTC")

SCHEMA = pa.schema(
    [
        ("received_at", _TIMESTAMP),
        ("event_at", _TIMESTAMP),
        ("topic", pa.string()),
        ("payload", pa.string()),
        ("payload_raw", pa.binary()),
        ("qos", pa.uint8()),
        ("retain", pa.bool_()),
        ("source", pa.string()),
        ("boot", pa.string()),
        ("seq", pa.int64()),
        ("session", pa.int32()),
        ("packet_id", pa.uint16()),
        ("stream", pa.int16()),
    ]
)
"""The columns of `messages`, and `stream`: the place in `TYPED_STREAMS`, -1 for none."""


class Received(NamedTuple):
    """One delivery and when it arrived, in microseconds of wall time since 1970."""

    at_us: int
    delivery: Delivery


def arrow_table(batch: list[Received], session: int, codes: StreamCodes) -> pa.Table:
    """Build the table of a batch that `session` of the broker delivered."""
    deliveries = [received.delivery for received in batch]
    payload, payload_raw = _payloads([delivery.payload for delivery in deliveries])
    stamps = [delivery_stamp(delivery) for delivery in deliveries]
    columns = [
        pa.array([received.at_us for received in batch], _TIMESTAMP),
        pa.array([stamp.plant_at for stamp in stamps], _TIMESTAMP),
        pa.array([delivery.topic for delivery in deliveries], pa.string()),
        payload,
        payload_raw,
        pa.array([delivery.qos for delivery in deliveries], pa.uint8()),
        pa.array([delivery.retain for delivery in deliveries], pa.bool_()),
        pa.array([stamp.source for stamp in stamps], pa.string()),
        pa.array([stamp.boot for stamp in stamps], pa.string()),
        pa.array([stamp.seq for stamp in stamps], pa.int64()),
        pa.array([session] * len(batch), pa.int32()),
        pa.array([delivery.packet_id or None for delivery in deliveries], pa.uint16()),
        pa.array([_code(stamp, delivery, codes) for stamp, delivery in zip(stamps, deliveries, strict=True)], pa.int16()),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _code(stamp: Stamp, delivery: Delivery, codes: StreamCodes) -> int:
    """A replayed message is no new measurement, whatever its topic: it stays out of the typed tables."""
    return -1 if stamp.source == replay.SOURCE else codes[delivery.topic]


def _payloads(payloads: list[bytes]) -> tuple[pa.Array, pa.Array]:
    """Return the payloads as text and as bytes: each has exactly one of the two."""
    raw = pa.array(payloads, pa.binary())
    try:
        return raw.cast(pa.string()), pa.nulls(len(payloads), pa.binary())
    except pa.ArrowInvalid:
        texts = [_text(payload) for payload in payloads]
        left = [payload if text is None else None for payload, text in zip(payloads, texts, strict=True)]
        return pa.array(texts, pa.string()), pa.array(left, pa.binary())


def _text(payload: bytes) -> str | None:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None


def delivery_stamp(delivery: Delivery) -> Stamp:
    """Read who published a delivery; nothing where its properties are malformed."""
    if not delivery.properties:
        return NO_STAMP
    try:
        return read_stamp(parse_properties(delivery.properties).user)
    except MalformedPacket:
        return NO_STAMP
