"""The adapter in the real runtime, on a real broker."""

import asyncio
from collections.abc import Callable
from typing import Self

import gmqtt
import msgspec
import pytest

from adapters.torque.component import TorqueAdapter
from adapters.torque.configuration import TorqueDriver
from adapters.torque.declaration import DECLARATION
from adapters.torque.link import STOPPED
from broker.contract.fastening.topics import DriverLink
from broker.mqtt.connection import Connection, ConnectionListener
from broker.mqtt.options import Options, Subscription
from broker.mqtt.packets import Delivery, parse_properties
from broker.runtime.runtime import Runtime
from broker.stamp import read_stamp
from tests.adapters.torque.fakes import TIMEOUT_S, driver, received
from tests.real_broker import RealBroker

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]


class Controller(ConnectionListener):
    """Receives the adapter's publications, and publishes commands with an account that may."""

    def __init__(self, broker: RealBroker, account: str) -> None:
        self.received: list[Delivery] = []
        options = Options(client_id=f"{account}-of-test", subscriptions=(Subscription(filter="torque/#"),))
        self.connection = Connection(broker.settings.broker_address(account), options, self)

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        self.received += deliveries

    def on(self, topic: str) -> list[Delivery]:
        return [each for each in self.received if each.topic == topic]

    def links(self, driver: str) -> list[DriverLink]:
        return [msgspec.json.decode(each.payload, type=DriverLink) for each in self.on(f"torque/{driver}/link")]

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.connection.run())
        await until(lambda: self.connection.connected)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.01)


def test_a_round_trip_and_a_clean_stop(broker: RealBroker) -> None:
    async def scenario() -> None:
        async with driver() as fake, Controller(broker, "recorder") as bystander:
            runtime = Runtime(DECLARATION, TorqueAdapter([TorqueDriver("on-the-bus", fake.url)]), broker.settings)
            task = asyncio.create_task(runtime.run())
            connection = await fake.connected()
            await until(lambda: [each.connected for each in bystander.links("on-the-bus")] == [True])
            await connection.send("hello")
            await until(lambda: bystander.on("torque/on-the-bus/event"))
            runtime.stop()
            await asyncio.wait_for(task, TIMEOUT_S)
            await until(lambda: len(bystander.links("on-the-bus")) == 2)
        (event,) = bystander.on("torque/on-the-bus/event")
        assert event.payload == b"hello"
        assert read_stamp(parse_properties(event.properties).user).source == "torque-adapter"
        async with Controller(broker, "recorder") as later:
            await until(lambda: later.links("on-the-bus"))
            assert later.links("on-the-bus") == [DriverLink(connected=False, url=fake.url, error=STOPPED)]

    asyncio.run(scenario())


def test_correlation_data_of_a_command_return_with_events(broker: RealBroker) -> None:
    if "fastening" not in broker.declarations:
        pytest.skip("there is no fastening controller yet whose account could send commands")

    async def scenario() -> None:
        async with driver() as fake, Controller(broker, "fastening") as controller:
            runtime = Runtime(DECLARATION, TorqueAdapter([TorqueDriver("commanded", fake.url)]), broker.settings)
            task = asyncio.create_task(runtime.run())
            connection = await fake.connected()
            await until(lambda: controller.links("commanded"))
            command = gmqtt.Message("torque/commanded/command", b'{"type":"reset"}', qos=1, correlation_data=b"42")
            controller.connection.publish(command)
            assert await received(connection) == '{"type":"reset"}'
            await connection.send("done")
            await until(lambda: controller.on("torque/commanded/event"))
            (event,) = controller.on("torque/commanded/event")
            assert parse_properties(event.properties).correlation_data == b"42"
            runtime.stop()
            await asyncio.wait_for(task, TIMEOUT_S)

    asyncio.run(scenario())
