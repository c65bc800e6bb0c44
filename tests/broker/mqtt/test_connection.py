"""A connection without a broker; with one, it is tested in `tests/system/test_runtime.py`."""

import asyncio

import pytest

from broker.errors import BrokerUnavailable
from broker.mqtt.connection import Connection, ConnectionListener
from broker.mqtt.options import Address, Options
from broker.mqtt.packets import acknowledgement


def unconnected() -> Connection:
    return Connection(Address(host="127.0.0.1", port=1), Options(client_id="test"), ConnectionListener())


@pytest.mark.integration
def test_an_unreachable_broker_is_an_error() -> None:
    async def scenario() -> None:
        with pytest.raises(BrokerUnavailable, match="no broker at"):
            await unconnected()._connect()

    asyncio.run(scenario())


def test_nothing_is_acknowledged_without_a_connection() -> None:
    async def scenario() -> None:
        connection = unconnected()
        assert connection.acknowledge([]) == 0
        assert acknowledgement(1, 1)

    asyncio.run(scenario())
