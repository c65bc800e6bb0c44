"""A batch of messages: the Arrow table with a row for each, and the prepared statements that store it through the view `batch`.

Planning one typed insert takes DuckDB 12 ms, running it 2 ms for a few rows: at the fifty messages a second of a small plant
that was half a core. A prepared statement keeps its plan as long as the view is not redefined. So the view is defined once for
each connection, on an object that returns the current batch whenever DuckDB reads it (the Arrow PyCapsule interface).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from broker.contract import replay
from broker.mqtt.packets import Delivery, MalformedPacket, UserProperties, parse_properties
from broker.stamp import CAUSE, Stamp, read_causes, read_stamp
from storage.schema.typed_streams import StreamCodes

_CAUSE = CAUSE.encode()
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
        ("cause", pa.list_(pa.string())),
        ("stream", pa.int16()),
    ]
)
"""The columns of `messages`, and `stream`: the index in `TYPED_STREAMS`, -1 for none."""
_NUMBERED = SCHEMA.insert(0, pa.field("number", pa.int64()))


class TimedDelivery(NamedTuple):
    """A delivery with its time of arrival, in microseconds of wall time since 1970."""

    at_us: int
    delivery: Delivery


def arrow_table(batch: list[TimedDelivery], session: int, codes: StreamCodes) -> pa.Table:
    """Build the table of a batch, in the order of arrival, that `session` of the broker delivered."""
    deliveries = [each.delivery for each in batch]
    payload, payload_raw = _payloads([delivery.payload for delivery in deliveries])
    stamps, causes = _stamps(deliveries)
    columns = [
        pa.array([each.at_us for each in batch], _TIMESTAMP),
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
        pa.array(causes, pa.list_(pa.string())),
        pa.array([_code(stamp, delivery, codes) for stamp, delivery in zip(stamps, deliveries, strict=True)], pa.int16()),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _stamps(deliveries: list[Delivery]) -> tuple[list[Stamp], list[list[str] | None]]:
    """Return the stamp and the causes of each message.

    Most have no cause: looking for the bytes first saves 0.5 µs for each of these. Properties are not kept, for the garbage
    collector would visit them again and again: 1 µs a message.
    """
    stamps: list[Stamp] = []
    causes: list[list[str] | None] = []
    for delivery in deliveries:
        user = _user_properties(delivery)
        stamps.append(read_stamp(user))
        causes.append(read_causes(user) if _CAUSE in delivery.properties else None)
    return stamps, causes


def _code(stamp: Stamp, delivery: Delivery, codes: StreamCodes) -> int:
    """Return the stream of a message, -1 for a replayed one: it is no new measurement and stays out of the typed tables."""
    return -1 if stamp.source == replay.SOURCE else codes[delivery.topic]


def _payloads(payloads: list[bytes]) -> tuple[pa.Array, pa.Array]:
    """Return the payloads as text and as bytes: each of them is exactly one of the two."""
    raw = pa.array(payloads, pa.binary())
    try:
        return raw.cast(pa.string()), pa.nulls(len(payloads), pa.binary())
    except pa.ArrowInvalid:
        texts = [_text(payload) for payload in payloads]
        rest = [payload if text is None else None for payload, text in zip(payloads, texts, strict=True)]
        return pa.array(texts, pa.string()), pa.array(rest, pa.binary())


def _text(payload: bytes) -> str | None:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None


def delivery_stamp(delivery: Delivery) -> Stamp:
    """Read the publisher's stamp of a delivery, an empty one where its properties are malformed."""
    return read_stamp(_user_properties(delivery))


def _user_properties(delivery: Delivery) -> UserProperties:
    if not delivery.properties:
        return ()
    try:
        return parse_properties(delivery.properties).user
    except MalformedPacket:
        return ()


class _CurrentBatch:
    """The source of the view `batch`."""

    def __init__(self) -> None:
        self.table: pa.Table = _NUMBERED.empty_table()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        return _NUMBERED.__arrow_c_schema__()


class Statements:
    """The view `batch` of one connection, and prepared statements over it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self._batch = _CurrentBatch()
        self._prepared: set[str] = set()
        connection.register("batch", self._batch)

    @contextmanager
    def batch(self, table: pa.Table, first_number: int = 1) -> "Iterator[Statements]":
        """Make a table the content of the view `batch`, its rows numbered from `first_number` on, until the block is left."""
        numbers = pa.array(range(first_number, first_number + table.num_rows), pa.int64())
        self._batch.table = table.add_column(0, _NUMBERED.field("number"), numbers)
        try:
            yield self
        finally:
            self._batch.table = _NUMBERED.empty_table()

    def run(self, name: str, sql: str, *arguments: int) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows.

        Args:
            name: letters, digits and underscores; each name stands for one statement.
            sql: the statement, with `$1`, `$2`… for the arguments.
            arguments: whole numbers.

        Raises:
            duckdb.Error: the statement failed.
        """
        if name not in self._prepared:
            self.connection.execute(f"PREPARE {name} AS {sql}")
            self._prepared.add(name)
        values = f"({', '.join(map(str, arguments))})" if arguments else ""
        # fetchall: a result that is not read to its end keeps the connection busy
        return self.connection.execute(f"EXECUTE {name}{values}").fetchall()
