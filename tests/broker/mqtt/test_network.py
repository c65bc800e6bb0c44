"""The parts of gmqtt that `broker.mqtt.network` depends on, and its errors for a broker that misbehaves."""

import asyncio
from collections.abc import Awaitable, Callable

import gmqtt
import pytest
from gmqtt.mqtt.constants import MQTTCommands
from gmqtt.mqtt.handler import MqttPackageHandler

from broker.errors import BrokerUnavailable, BusError
from broker.mqtt.network import NetworkConnection
from broker.mqtt.options import Address, Options, Subscription

pytestmark = pytest.mark.integration
Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

CONNACK = b"\x20\x03\x00\x00\x00"


def connection_to(port: int, ca: str | None = None) -> NetworkConnection:
    address = Address(host="127.0.0.1", port=port, ca=ca)
    return NetworkConnection(address, Options(client_id="test"), lambda _: None, lambda *_: None, lambda: None)


def test_gmqtt_still_has_the_private_attributes() -> None:
    async def scenario() -> None:
        client = gmqtt.Client("test")
        handler = client._package_handler
        assert isinstance(handler._handler_cache, dict)
        assert handler._connack_properties == {}
        assert callable(MqttPackageHandler._handle_puback_packet)
        assert handler.__get_handler__(MQTTCommands.PUBLISH) == handler._handle_publish_packet
        handler._handler_cache[MQTTCommands.PUBLISH] = marker = object()
        assert handler.__get_handler__(MQTTCommands.PUBLISH | 0x0A) is marker

    asyncio.run(scenario())


async def error_with(peer: Peer) -> str:
    """Connect to `peer`, which plays the broker, until the connection ends; return the error's text."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await peer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    connection = connection_to(server.sockets[0].getsockname()[1])
    try:
        async with asyncio.timeout(5):
            await connection.connect()
            await connection.subscribe((Subscription(filter="a/#"),))
            await connection.until_lost()
    except BusError as error:
        return str(error)
    finally:
        connection.abort()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)
    return "nothing"


async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, granted: bytes = b"\x01") -> None:
    """Answer CONNECT and SUBSCRIBE."""
    await reader.read(100)
    writer.write(CONNACK)
    subscribe = await reader.read(100)
    writer.write(b"\x90\x04" + subscribe[2:4] + b"\x00" + granted)
    await writer.drain()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)
    writer.write(b"\x20\x03\x00\x87\x00")
    await reader.read()


async def refuse_subscription(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await accept(reader, writer, granted=b"\x87")
    await reader.read()


async def garble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await accept(reader, writer)
    writer.write(b"\x32\x03\x00\x09t")
    await reader.read()


async def take_over(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await accept(reader, writer)
    writer.write(b"\xe0\x02\x8e\x00")
    await reader.read()


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (hang_up, "closed the connection before it answered"),
        (refuse, "refused test: code 135"),
        (refuse_subscription, "refused the subscription to a/# (0x87)"),
        (garble, "PUBLISH of 3 bytes"),
        (take_over, "took the place of test"),
    ],
)
def test_an_error_names_what_the_broker_did(peer: Peer, expected: str) -> None:
    assert expected in asyncio.run(error_with(peer))


def test_an_unreachable_broker_is_an_error() -> None:
    async def scenario() -> None:
        with pytest.raises(BrokerUnavailable, match="no broker at"):
            await connection_to(1).connect()

    asyncio.run(scenario())


def test_an_unreadable_authority_is_an_error_and_retried() -> None:
    async def scenario() -> None:
        connection = connection_to(1, ca="/nowhere/ca.pem")
        with pytest.raises(BrokerUnavailable, match="No such file"):
            await connection.connect()
        connection.abort()

    asyncio.run(scenario())
