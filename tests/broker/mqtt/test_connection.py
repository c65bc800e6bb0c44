"""The places in gmqtt that `broker.mqtt.connection` reaches into, and what it says of a broker that does not behave."""

import asyncio
from collections.abc import Awaitable, Callable

import gmqtt
import pytest
from gmqtt.mqtt.constants import MQTTCommands
from gmqtt.mqtt.handler import MqttPackageHandler

from broker.errors import BusError
from broker.mqtt.connection import Connection, ConnectionListener
from broker.mqtt.options import Address, Options, Subscription
from broker.mqtt.packets import acknowledgement

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

CONNACK = b"\x20\x03\x00\x00\x00"


def test_gmqtt_still_has_the_seams() -> None:
    async def scenario() -> None:
        client = gmqtt.Client("seams")
        handler = client._package_handler
        assert isinstance(handler._handler_cache, dict)
        assert handler._connack_properties == {}
        assert callable(MqttPackageHandler._handle_puback_packet)
        assert handler.__get_handler__(MQTTCommands.PUBLISH) == handler._handle_publish_packet
        handler._handler_cache[MQTTCommands.PUBLISH] = marker = object()
        assert handler.__get_handler__(MQTTCommands.PUBLISH | 0x0A) is marker

    asyncio.run(scenario())


async def attempt(peer: Peer, **options: object) -> str:
    """Let a connection meet a broker of this test's; return what it says of it."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await peer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    given: dict[str, object] = {"client_id": "test", "subscriptions": (Subscription(filter="a/#"),), **options}
    connection = Connection(Address(host="127.0.0.1", port=port), Options(**given), ConnectionListener())  # type: ignore[arg-type]
    try:
        async with asyncio.timeout(5):
            await connection._connect()
            await connection._stay_connected()
    except BusError as error:
        return str(error)
    finally:
        connection._disconnected()
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


async def push_out(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await accept(reader, writer)
    writer.write(b"\xe0\x02\x8e\x00")
    await reader.read()


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (hang_up, "connection to the broker was lost"),
        (refuse, "refused test: code 135"),
        (refuse_subscription, "refused the subscription to a/# (0x87)"),
        (garble, "PUBLISH of 3 bytes"),
        (push_out, "took the place of test"),
    ],
)
def test_says_what_is_wrong_with_a_broker(peer: Peer, expected: str) -> None:
    assert expected in asyncio.run(attempt(peer))


def test_nobody_there_is_told() -> None:
    async def scenario() -> None:
        connection = Connection(Address(host="127.0.0.1", port=1), Options(client_id="test"), ConnectionListener())
        with pytest.raises(Exception, match="no broker at"):
            await connection._connect()

    asyncio.run(scenario())


def test_nothing_is_acknowledged_without_a_connection() -> None:
    async def scenario() -> None:
        connection = Connection(Address(host="127.0.0.1", port=1), Options(client_id="test"), ConnectionListener())
        assert connection.acknowledge([]) == 0
        assert acknowledgement(1, 1)

    asyncio.run(scenario())
