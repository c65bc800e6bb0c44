"""The PUBLISH packet of MQTT 5 and its acknowledgements, in bytes.

Section numbers are those of the OASIS standard MQTT Version 5.0 (2019).
"""

from dataclasses import dataclass
from struct import Struct

from broker.errors import BusError

_UINT16 = Struct("!H")
_ACK = Struct("!BBH")
_PUBLISH, _PUBACK, _PUBREC, _PUBCOMP = 0x30, 0x40, 0x50, 0x70
_MOST_TOPICS = 10_000

_USER_PROPERTY = 0x26
_CONTENT_TYPE = 0x03
_RESPONSE_TOPIC = 0x08
_CORRELATION_DATA = 0x09
_SUBSCRIPTION_IDENTIFIER = 0x0B
_FIXED_SIZES = {0x01: 1, 0x02: 4, 0x23: 2}
"""Payload format indicator, message expiry interval, topic alias (section 2.2.2.2)."""

UserProperties = tuple[tuple[str, str], ...]


class MalformedPacket(BusError):
    """Bytes that are not a PUBLISH packet (section 4.13)."""


@dataclass(slots=True)
class Delivery:
    """One received PUBLISH packet. `packet_id` is 0 at QoS 0; `properties` are not decoded."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    packet_id: int
    properties: bytes


@dataclass(frozen=True, slots=True)
class PublishProperties:
    """The properties of a PUBLISH packet that Scaup uses (section 3.3.2.3)."""

    response_topic: str | None = None
    correlation_data: bytes | None = None
    content_type: str | None = None
    user: UserProperties = ()


NO_PROPERTIES = PublishProperties()


def parse_publish(flags: int, body: bytes) -> Delivery:
    """Read a PUBLISH packet (section 3.3) from its first byte and what follows the remaining length.

    Raises:
        MalformedPacket: the packet ends early, or its topic is not UTF-8.
    """
    try:
        qos = flags >> 1 & 3
        end = 2 + (body[0] << 8 | body[1])
        topic = body[2:end].decode()
        packet_id = 0
        if qos:
            packet_id = body[end] << 8 | body[end + 1]
            end += 2
        length = body[end]
        end += 1
        if length > 127:
            length, end = _variable_integer(body, end - 1)
        start, end = end, end + length
    except (IndexError, UnicodeDecodeError) as error:
        raise MalformedPacket(f"PUBLISH of {len(body)} bytes: {error}") from error
    if end > len(body) or qos == 3:
        raise MalformedPacket(f"PUBLISH of {len(body)} bytes ends early or has QoS 3")
    return Delivery(topic, body[end:], qos, bool(flags & 1), bool(flags & 8), packet_id, body[start:end])


def parse_publishes(buffer: bytes, position: int, topics: dict[bytes, str]) -> tuple[list[Delivery], int]:
    """Read a run of PUBLISH packets in `buffer` from `position` on; return them and the position where the run ends.

    It ends before a packet that is incomplete, not of the usual form, or not PUBLISH; `parse_publish` reports why. `topics`
    caches decoded topics between calls. One loop without a function call per packet takes a third of the time.
    """
    deliveries: list[Delivery] = []
    append = deliveries.append
    size = len(buffer)
    try:
        while (first := buffer[position]) & 0xF0 == _PUBLISH:
            length, start = buffer[position + 1], position + 2
            if length > 127:
                length, start = length & 127 | buffer[start] << 7, start + 1
                if length > 0x3FFF:
                    break
            end, at = start + length, start + 2 + (buffer[start] << 8 | buffer[start + 1])
            topic = topics.get(name := buffer[start + 2 : at])
            if topic is None:
                topic = _remember(topics, name)
            packet_id = 0
            if qos := first >> 1 & 3:
                packet_id, at = buffer[at] << 8 | buffer[at + 1], at + 2
            payload_at = at + 1 + buffer[at]
            if end > size or payload_at > end or buffer[at] > 127 or qos == 3:
                break
            properties, payload = buffer[at + 1 : payload_at], buffer[payload_at:end]
            append(Delivery(topic, payload, qos, first & 1 == 1, first & 8 == 8, packet_id, properties))
            position = end
    except (IndexError, UnicodeDecodeError):
        pass  # the packet is not complete, or malformed
    return deliveries, position


def _remember(topics: dict[bytes, str], name: bytes) -> str:
    if len(topics) >= _MOST_TOPICS:
        topics.clear()
    topics[name] = topic = name.decode()
    return topic


def parse_properties(raw: bytes) -> PublishProperties:
    """Read the properties of a PUBLISH packet.

    Raises:
        MalformedPacket: they end early, contain a property that PUBLISH does not have, or text that is not UTF-8.
    """
    if not raw:
        return NO_PROPERTIES
    response_topic, correlation_data, content_type = None, None, None
    user: list[tuple[str, str]] = []
    position = 0
    try:
        while position < len(raw):
            identifier = raw[position]
            position += 1
            if identifier == _USER_PROPERTY:
                name, position = _binary(raw, position)
                value, position = _binary(raw, position)
                user.append((name.decode(), value.decode()))
            elif identifier == _RESPONSE_TOPIC:
                value, position = _binary(raw, position)
                response_topic = value.decode()
            elif identifier == _CORRELATION_DATA:
                correlation_data, position = _binary(raw, position)
            elif identifier == _CONTENT_TYPE:
                value, position = _binary(raw, position)
                content_type = value.decode()
            elif identifier == _SUBSCRIPTION_IDENTIFIER:
                _, position = _variable_integer(raw, position)
            else:
                position += _FIXED_SIZES[identifier]
    except (IndexError, KeyError, UnicodeDecodeError) as error:
        raise MalformedPacket(f"properties {raw[:64]!r}: {error!r}") from error
    return PublishProperties(response_topic, correlation_data, content_type, tuple(user))


def pack_user_properties(user: UserProperties) -> bytes:
    """Build the properties of a packet with user properties only (sections 2.2.2 and 3.3.2.3.7), starting with their length.

    Raises:
        MalformedPacket: a name or a value is longer than 65,535 bytes.
    """
    packed = b"".join(bytes([_USER_PROPERTY]) + _text(name) + _text(value) for name, value in user)
    return _pack_variable_integer(len(packed)) + packed


def acknowledgement(delivery_qos: int, packet_id: int) -> bytes:
    """Build the PUBACK (section 3.4) of a QoS 1 delivery, or the PUBREC (section 3.5) of a QoS 2 one."""
    return _ACK.pack(_PUBACK if delivery_qos == 1 else _PUBREC, 2, packet_id)


def publish_complete(packet_id: int) -> bytes:
    """Build the PUBCOMP (section 3.7) that answers a PUBREL."""
    return _ACK.pack(_PUBCOMP, 2, packet_id)


def parse_reason(body: bytes) -> tuple[int, int]:
    """Read packet identifier and reason code of a PUBACK, PUBREC, PUBREL or PUBCOMP; an absent code means success.

    Raises:
        MalformedPacket: there are fewer than two bytes.
    """
    if len(body) < 2:
        raise MalformedPacket(f"acknowledgement of {len(body)} bytes")
    return _UINT16.unpack_from(body)[0], body[2] if len(body) > 2 else 0


def _text(text: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > 0xFFFF:
        raise MalformedPacket(f"a text of {len(encoded)} bytes is too long for a packet")
    return _UINT16.pack(len(encoded)) + encoded


def _pack_variable_integer(value: int) -> bytes:
    packed = bytearray()
    while value > 127:
        packed.append(value & 127 | 128)
        value >>= 7
    packed.append(value)
    return bytes(packed)


def _binary(raw: bytes, position: int) -> tuple[bytes, int]:
    start = position + 2
    end = start + (raw[position] << 8 | raw[position + 1])
    if end > len(raw):
        raise IndexError("a length points past the end")
    return raw[start:end], end


def _variable_integer(raw: bytes, position: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = raw[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
        if shift > 21:
            raise IndexError("a variable byte integer has more than four bytes")
