"""The packet reader against gmqtt's own packet builder, an independent oracle, and against arbitrary bytes."""

import gmqtt
import pytest
from gmqtt.mqtt.package import PublishPacket
from gmqtt.mqtt.utils import IdGenerator
from hypothesis import given
from hypothesis import strategies as st

from broker.mqtt.packets import (
    Delivery,
    MalformedPacket,
    PublishProperties,
    acknowledgement,
    parse_properties,
    parse_publish,
    parse_publishes,
    parse_reason,
    publish_complete,
)
from broker.mqtt.reader import packet_bytes

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


class Protocol:
    proto_ver = 5

    def __init__(self) -> None:
        self.id_generator = IdGenerator(max=65_535)


def body_of(packet: bytes) -> bytes:
    """Cut first byte and remaining length off."""
    end = 1
    while packet[end] & 128:
        end += 1
    return bytes(packet[end + 1 :])


@given(
    topic=TEXT.filter(bool),
    payload=st.binary(max_size=300),
    qos=st.integers(0, 2),
    retain=st.booleans(),
    user=st.lists(st.tuples(TEXT, TEXT), max_size=6),
    response=st.none() | TEXT.filter(bool),
    correlation=st.none() | st.binary(max_size=20),
)
def test_reads_packets_built_by_gmqtt(
    topic: str,
    payload: bytes,
    qos: int,
    retain: bool,
    user: list[tuple[str, str]],
    response: str | None,
    correlation: bytes | None,
) -> None:
    properties: dict[str, object] = {"user_property": user} if user else {}
    properties |= {"message_expiry_interval": 7, "payload_format_id": 1, "subscription_identifier": 300, "topic_alias": 2}
    properties |= {"response_topic": response} if response else {}
    properties |= {"correlation_data": correlation} if correlation is not None else {}
    message = gmqtt.Message(topic, payload, qos=qos, retain=retain, **properties)
    packet_id, packet = PublishPacket.build_package(message, Protocol())

    delivery = parse_publish(packet[0], body_of(packet))

    assert (delivery.topic, delivery.payload, delivery.qos, delivery.retain) == (topic, payload, qos, retain)
    assert delivery.packet_id == (packet_id or 0)
    assert not delivery.dup
    assert parse_properties(delivery.properties) == PublishProperties(response, correlation, None, tuple(user))


def test_the_dup_flag_is_read() -> None:
    assert parse_publish(0x3A, b"\0\1t\0\7\0payload").dup
    assert parse_publish(0x3A, b"\0\1t\0\7\0payload").packet_id == 7


@given(st.integers(0x30, 0x3F), st.binary(max_size=64))
def test_arbitrary_bytes_are_read_or_malformed(flags: int, body: bytes) -> None:
    try:
        delivery = parse_publish(flags, body)
        parse_properties(delivery.properties)
    except MalformedPacket:
        pass


@pytest.mark.parametrize(
    "body",
    [b"", b"\0", b"\0\5abc", b"\0\1t", b"\0\1t\0", b"\0\1\xff\0\1\0", b"\0\1t\0\1\x05abc", b"\0\1t\0\1\xff\xff\xff\xff\xff"],
)
def test_truncated_or_non_utf8_packets_are_malformed(body: bytes) -> None:
    with pytest.raises(MalformedPacket):
        parse_publish(0x32, body)


def test_qos_3_is_malformed() -> None:
    with pytest.raises(MalformedPacket):
        parse_publish(0x36, b"\0\1t\0\1\0")


@pytest.mark.parametrize("raw", [b"\x26\0\1a", b"\xee", b"\x08\0\5a", b"\x26\0\1\xff\0\0", b"\x0b\xff\xff\xff\xff\xff"])
def test_malformed_properties(raw: bytes) -> None:
    with pytest.raises(MalformedPacket):
        parse_properties(raw)


def test_acknowledgements_in_bytes() -> None:
    assert acknowledgement(1, 0x1234) == b"\x40\x02\x12\x34"
    assert acknowledgement(2, 1) == b"\x50\x02\x00\x01"
    assert publish_complete(258) == b"\x70\x02\x01\x02"


def test_reason_codes() -> None:
    assert parse_reason(b"\x00\x07") == (7, 0)
    assert parse_reason(b"\x00\x07\x87\x00") == (7, 0x87)
    with pytest.raises(MalformedPacket):
        parse_reason(b"\x00")


@st.composite
def publish_packets(draw: st.DrawFn) -> bytes:
    message = gmqtt.Message(
        draw(st.sampled_from(["t", "a/b", "é", "x" * 200])),
        draw(st.binary(max_size=300)) + b"x" * draw(st.sampled_from([0, 100, 20_000])),
        qos=draw(st.integers(0, 2)),
        retain=draw(st.booleans()),
        user_property=draw(st.lists(st.tuples(st.text("abc", max_size=9), st.text("abc", max_size=60)), min_size=1)),
    )
    return bytes(PublishPacket.build_package(message, Protocol())[1])


def one_by_one(buffer: bytes) -> tuple[list[Delivery], int]:
    """Read packet by packet, up to the first that is not a complete PUBLISH packet: an independent way to the same result."""
    found: list[Delivery] = []
    position = 0
    while position < len(buffer):
        try:
            length = packet_bytes(buffer[position : position + 5])
        except ValueError:
            break
        if length > len(buffer) - position or buffer[position] & 0xF0 != 0x30:
            break
        header = 1 + next(n for n in range(1, 5) if buffer[position + n] < 128)
        try:
            found.append(parse_publish(buffer[position], buffer[position + header : position + length]))
        except MalformedPacket:
            break
        position += length
    return found, position


@given(st.lists(publish_packets(), max_size=6), st.binary(max_size=8), st.integers(0, 30))
def test_a_run_is_read_like_single_packets(packets: list[bytes], other: bytes, cut: int) -> None:
    stream = b"".join(packets)
    buffer = stream[: len(stream) - cut] if cut else stream + other
    found, position = parse_publishes(buffer, 0, {})
    expected, end = one_by_one(buffer)
    assert found == expected[: len(found)], "what is read is right"
    assert position <= end
    if position < end:
        assert buffer[position] & 0xF0 == 0x30, "the rest is for the other reader"


@given(st.binary(max_size=60), st.integers(0, 3))
def test_arbitrary_bytes_in_a_run_are_read_the_same(body: bytes, start: int) -> None:
    buffer = bytes([0x30 | (body[0] & 15 if body else 0)]) + body
    found, position = parse_publishes(buffer, min(start, len(buffer) - 1), {})
    assert position <= len(buffer)
    if start == 0:
        assert found == one_by_one(buffer)[0][: len(found)]


def test_a_run_ends_at_an_unusual_packet() -> None:
    usual = bytes(PublishPacket.build_package(gmqtt.Message("t", b"1", qos=1), Protocol())[1])
    long_properties = gmqtt.Message("t", b"2", qos=1, user_property=[("name", "v" * 200)])
    unusual = bytes(PublishPacket.build_package(long_properties, Protocol())[1])
    topics: dict[bytes, str] = {}
    found, position = parse_publishes(usual * 3 + unusual + usual, 0, topics)
    assert ([each.payload for each in found], position) == ([b"1"] * 3, 3 * len(usual))
    assert topics == {b"t": "t"}
    found, position = parse_publishes(usual * 2 + b"\xd0\x00" + usual, 0, topics)
    assert (len(found), position) == (2, 2 * len(usual))
