import asyncio
from collections.abc import Iterable
from types import SimpleNamespace

import gmqtt
import pytest
from gmqtt.mqtt.package import PublishPacket
from gmqtt.mqtt.utils import ConnectionState, IdGenerator
from hypothesis import given
from hypothesis import strategies as st

from broker.mqtt.connection import Connection, ConnectionListener
from broker.mqtt.options import Address, Options, Subscription
from broker.mqtt.packets import Delivery
from broker.mqtt.reader import Protocol, packet_bytes
from tests.broker.mqtt.test_packets import Protocol as NoProtocol


@given(st.integers(0, 70_000), st.integers(0, 8))
def test_packet_length_follows_from_the_header(size: int, shown: int) -> None:
    _, packet = PublishPacket.build_package(gmqtt.Message("t", b"x" * size, qos=1), NoProtocol())
    assert packet_bytes(packet[: 5 + shown]) == len(packet)


@pytest.mark.parametrize("start", [b"", b"\x30", b"\x30\x80", b"\x30\xff\xff\xff"])
def test_an_incomplete_header_needs_one_more_byte(start: bytes) -> None:
    assert packet_bytes(start) == len(start) + 1


def test_a_length_of_more_than_four_bytes_is_an_error() -> None:
    with pytest.raises(ValueError, match="more than four"):
        packet_bytes(b"\x30\xff\xff\xff\xff\x01")


class Receiver(ConnectionListener):
    def __init__(self) -> None:
        self.received: list[Delivery] = []
        self.times = 0

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        self.received += deliveries
        self.times += 1


async def receive(stream: Iterable[bytes], count: int) -> Receiver:
    """Serve a stream of bytes part by part, and return a receiver that got `count` messages from it."""

    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"\x20\x03\x00\x00\x00")
        subscribe = await reader.read(100)
        writer.write(b"\x90\x04" + subscribe[2:4] + b"\x00\x01")
        for part in stream:
            writer.write(part)
            await asyncio.sleep(0)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(broker, "127.0.0.1", 0)
    receiver = Receiver()
    address = Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
    connection = Connection(address, Options(client_id="receiver", subscriptions=(Subscription(filter="#"),)), receiver)
    running = asyncio.create_task(connection.run())
    async with asyncio.timeout(30):
        while len(receiver.received) < count:
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.05)
    return receiver


def packet(payload: bytes) -> bytes:
    return bytes(PublishPacket.build_package(gmqtt.Message("t", payload, qos=0), NoProtocol())[1])


@pytest.mark.integration
def test_a_message_of_60_mb_is_read_in_seconds() -> None:
    sizes = [3, 60_000_000, 3, 3]
    receiver = asyncio.run(receive([b"".join(packet(b"x" * size) for size in sizes)], len(sizes)))
    assert [len(each.payload) for each in receiver.received] == sizes


@pytest.mark.integration
def test_a_busy_stream_is_read_in_large_pieces() -> None:
    payloads = [b"%d" % number for number in range(5_000)]
    receiver = asyncio.run(receive(map(packet, payloads), len(payloads)))
    assert [each.payload for each in receiver.received] == payloads
    assert receiver.times < len(payloads) / 4


class Wire:
    """A transport that records each write."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.written.append(bytes(data))


def test_packets_of_one_iteration_are_written_together() -> None:
    async def scenario() -> None:
        wire = Wire()
        protocol = Protocol(connection_state=ConnectionState(), id_generator=IdGenerator())
        protocol._connection, protocol._transport = SimpleNamespace(), wire
        protocol.write_data(b"publication")
        protocol.write_data(b"acknowledgement")
        assert wire.written == []
        await asyncio.sleep(0)
        assert wire.written == [b"publicationacknowledgement"]
        protocol.write_data(b"offline")
        protocol.send_disconnect()
        assert wire.written[1].startswith(b"offline\xe0")
        protocol._transport = None  # there is no connection to write to
        protocol.write_data(b"late")
        await asyncio.sleep(0)

    asyncio.run(scenario())
