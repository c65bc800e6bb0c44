"""Messages as received, publications to be sent, and their JSON payloads."""

import codecs
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypeVar

import msgspec
import orjson

from broker.errors import Rejected
from broker.mqtt.packets import Delivery, MalformedPacket, UserProperties, parse_properties
from broker.stamp import NO_STAMP, Stamp, read_stamp

P = TypeVar("P")

_ESCAPED = re.compile(rb"\\.", re.DOTALL)
DEEPEST = 254
"""Levels of arrays and objects in a payload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One received PUBLISH packet."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    response_topic: str | None = None
    correlation_data: bytes | None = None
    content_type: str | None = None
    properties: UserProperties = ()
    """The user properties, as received."""
    stamp: Stamp = NO_STAMP
    dup: bool = False
    """The broker may have delivered it before, on an earlier connection of the same session."""
    packet_id: int = 0
    """Its packet identifier, 0 at QoS 0: the same where it is delivered again."""

    @property
    def reference(self) -> str:
        """How a cause names the message: by its stamp, or by its topic where it has none."""
        return self.stamp.reference or self.topic

    def property(self, name: str) -> str | None:
        """Return the last user property of this name, None if there is none."""
        return next((value for key, value in reversed(self.properties) if key == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One message to publish. The runtime adds `source`, `boot` and `seq`, and `plant-time` where `plant` is set.

    With `history_at` it is simulated history (`broker.stamp.HISTORY`), which describes the plant at that instant.
    """

    topic: str
    payload: bytes
    qos: Literal[0, 1] = 1
    retain: bool = False
    plant: bool = False
    plant_at: datetime | None = None
    """The instant of the plant that it describes, in place of the present one: the time of a device's own clock."""
    history_at: datetime | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    content_type: str | None = None
    properties: UserProperties = ()
    causes: tuple[str, ...] = ()
    """What it follows from, most important first: `Message.reference`, or `TICK`. Where it is empty, the runtime fills it in:
    what `on_message` returns follows from that message, and what `on_tick` returns from the tick."""


def because(publications: Iterable[Publication], *causes: str) -> list[Publication]:
    """Return the publications with these causes, the most important first; those that have some keep their own."""
    return [each if each.causes else replace(each, causes=causes) for each in publications]


def read_message(delivery: Delivery) -> Message:
    """Read a delivery, its properties and its stamp included.

    Raises:
        Rejected: its properties are malformed.
    """
    try:
        properties = parse_properties(delivery.properties)
    except MalformedPacket as error:
        raise Rejected(str(error)) from error
    return Message(
        topic=delivery.topic,
        payload=delivery.payload,
        qos=delivery.qos,
        retain=delivery.retain,
        response_topic=properties.response_topic,
        correlation_data=properties.correlation_data,
        content_type=properties.content_type,
        properties=properties.user,
        stamp=read_stamp(properties.user),
        dup=delivery.dup,
        packet_id=delivery.packet_id,
    )


def decode(payload: bytes, shape: type[P]) -> P:
    """Decode a JSON payload into `shape`, a `msgspec.Struct` (or any type that msgspec converts to).

    Raises:
        Rejected: the payload is not UTF-8, not JSON (NaN and infinity are not), or has another shape; the reason names where.
    """
    return convert(decode_json(payload), shape)


def decode_json(payload: bytes) -> Any:
    """Decode a JSON payload of any shape.

    Raises:
        Rejected: the payload is empty, not UTF-8 or not JSON, is nested too deeply, or has a name twice in an object: of two
            values, one reader takes the first and another the last.
    """
    value = read_json(payload)
    # a flat object with as many colons as members is the usual payload, and cheap to tell
    if type(value) is not dict or payload.count(b":") != len(value) or payload.count(b"["):
        check_names(payload, value)
    return value


def read_json(payload: bytes) -> Any:
    """Decode a JSON payload of any shape; of a name that an object has twice, the last value counts.

    Raises:
        Rejected: the payload is empty, not UTF-8 or not JSON.
    """
    if not payload:
        raise Rejected("empty payload")
    try:
        return orjson.loads(payload)
    except ValueError as error:  # bad UTF-8 inside a string can raise UnicodeDecodeError, a ValueError too
        raise Rejected(f"not JSON: {_encoding_error(payload) or error}") from error


def check_names(payload: bytes, value: Any) -> None:
    """Refuse a name that an object has twice: `value`, in which the last one is left, then has fewer strings than `payload`.

    Raises:
        Rejected: there is one, or the payload is nested too deeply.
    """
    try:
        encoded = orjson.dumps(value)
    except TypeError:  # the only thing in decoded JSON that cannot be encoded
        raise Rejected(f"nested more than {DEEPEST} levels deep") from None
    if payload.count(b'"') == encoded.count(b'"') and payload.find(b"\\") < 0:
        return  # all quotes are around strings
    if _quotes(encoded) != _quotes(payload):
        raise Rejected(f"the name {_repeated_name(payload)} occurs twice in an object: which value counts?")


def _quotes(text: bytes) -> int:
    """Count the quotes around strings, not those inside of them."""
    return (_ESCAPED.sub(b"", text) if b"\\" in text else text).count(b'"')


def _repeated_name(payload: bytes) -> str:
    found: list[str] = []

    def check(members: list[tuple[str, Any]]) -> None:
        found.extend(name for name, times in Counter(name for name, _ in members).items() if times > 1)

    json.loads(payload, object_pairs_hook=check)
    return repr(found[0][:100])


def without_byte_order_mark(payload: bytes) -> bytes:
    """Return JSON without the UTF-8 byte order mark that some editors and meters put before it.

    Raises:
        Rejected: it is UTF-16 or UTF-32, where one of the first two bytes is 0 or they are a byte order mark.
    """
    start = payload[:2]
    if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or (b"\0" in start[:2] and len(payload) > 1):
        raise Rejected("it is UTF-16 or UTF-32, and must be UTF-8")
    return payload.removeprefix(codecs.BOM_UTF8)


def _encoding_error(payload: bytes) -> str | None:
    try:
        marked = without_byte_order_mark(payload) != payload
    except Rejected as rejected:
        return str(rejected)
    return "it begins with a byte order mark" if marked else None


def convert(value: Any, shape: type[P]) -> P:
    """Convert decoded JSON into `shape`.

    Raises:
        Rejected: a field is missing, of another type or out of its range; the reason names it.
    """
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        try:
            return msgspec.convert(_whole(value), shape)
        except msgspec.ValidationError:
            raise Rejected(f"wrong shape: {error}") from error


def _whole(value: Any) -> Any:
    """Replace `14.0` by 14: JSON does not tell them apart, and tables take both."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return {key: _whole(each) for key, each in value.items()} if isinstance(value, dict) else value


def encode(payload: Any) -> bytes:
    """Encode a struct, or any other value that JSON can represent, as compact UTF-8 JSON."""
    return msgspec.json.encode(payload)
