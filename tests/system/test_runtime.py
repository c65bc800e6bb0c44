"""The runtime and its connection against a real broker."""

import asyncio
import base64
import dataclasses
import itertools
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Self

import gmqtt
import msgspec
import pytest

from broker.contract.components import topics as components
from broker.contract.components.topics import Presence
from broker.contract.heating import topics as heating
from broker.errors import BrokerUnavailable, Rejected, TakenOver
from broker.message import Message, Publication
from broker.mqtt.connection import Connection, ConnectionListener
from broker.mqtt.options import Address, Options, Subscription
from broker.mqtt.packets import Delivery, parse_properties
from broker.runtime.component import Bus
from broker.runtime.declaration import Declaration
from broker.runtime.runtime import Runtime
from broker.runtime.settings import Settings
from broker.stamp import read_stamp
from tests.real_broker import LocalMosquitto, RealBroker

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]

HEATING = Declaration(
    name="heating",
    summary="echoes each reading as a valve level",
    subscribes=(heating.READING,),
    publishes=(heating.VALVE_LEVEL, heating.STATE),
    tick_s=10,
)
STATE = heating.HeatingState(level=1, setpoint=22.0, mode="heating")
EVEN_EARLIER, EARLIER = "0000000000010badc0de", "0000000000020badc0de"


class Echo:
    """A component that answers a reading with a level, and a tick with nothing."""

    def __init__(self) -> None:
        self.ticks: list[float] = []

    def on_message(self, message: Message, now_s: float) -> list[Publication]:
        reading = heating.READING.decode(message)
        if reading.value > 1000:
            raise Rejected("hotter than any room")
        level = heating.ValveLevel(int(reading.value))
        return [heating.VALVE_LEVEL.publication(level, room="runtime")]

    def on_tick(self, now_s: float) -> list[Publication]:
        self.ticks.append(now_s)
        return []


class Service(Echo):
    """An `Echo` with a service that works as soon as `may_work` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.may_work = asyncio.Event()
        self.finished = False

    async def serve(self, bus: Bus, working: Callable[[bool], None]) -> None:
        await self.may_work.wait()
        working(True)
        try:
            await asyncio.Event().wait()
        finally:
            self.finished = True


class Watcher(ConnectionListener):
    """A client that receives everything."""

    def __init__(self, broker: RealBroker, account: str = "recorder", client_id: str = "watcher") -> None:
        self.received: list[Delivery] = []
        options = Options(client_id=client_id, subscriptions=(Subscription(filter="#", retain_as_published=True),))
        self.connection = Connection(broker.settings.broker_address(account), options, self)

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        self.received += deliveries

    def on(self, topic: str) -> list[Delivery]:
        return [delivery for delivery in self.received if delivery.topic == topic]

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self.connection.run())
        await until(lambda: self.connection.connected)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@asynccontextmanager
async def running(component: Echo, settings: Settings) -> AsyncIterator[Runtime]:
    runtime = Runtime(HEATING, component, settings)
    task = asyncio.create_task(runtime.run())
    try:
        yield runtime
    finally:
        runtime.stop()
        await asyncio.wait_for(task, 20)


async def until(condition: Callable[[], object], timeout_s: float = 25) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


class Device(Watcher):
    """A device without an account that publishes readings."""

    def __init__(self, broker: RealBroker) -> None:
        super().__init__(broker)
        self.connection = Connection(Address(host=broker.host, port=broker.port), Options(client_id="device"), self)

    async def reads(self, payload: bytes) -> None:
        self.connection.publish(gmqtt.Message("/readings/runtime/temperature", payload, qos=1))
        assert await self.connection.flush(10)


def reading(celsius: float) -> bytes:
    return b'{"sensorID":"s","type":"temperature","value":%g}' % celsius


def presence(watcher: Watcher) -> list[Presence]:
    payloads = [delivery.payload for delivery in watcher.on("components/heating/state")]
    return [msgspec.json.decode(payload, type=components.ComponentState).state for payload in payloads]


def read_boot(delivery: Delivery) -> str:
    return msgspec.json.decode(delivery.payload, type=components.ComponentState).boot


def abort(runtime: Runtime) -> None:
    """Cut the runtime's network connection."""
    assert runtime._connection._network is not None
    runtime._connection._network._client._connection._transport.abort()


def levels(watcher: Watcher) -> list[int]:
    return [msgspec.json.decode(delivery.payload)["level"] for delivery in watcher.on("/actuators/runtime")]


def test_a_component_starts_answers_and_stops(own_broker: RealBroker) -> None:
    async def scenario() -> None:
        async with Watcher(own_broker) as watcher, Device(own_broker) as device:
            async with running(Echo(), own_broker.settings):
                await until(lambda: presence(watcher) == [Presence.ONLINE])
                await device.reads(reading(21))
                await until(lambda: levels(watcher) == [21])
            await until(lambda: presence(watcher) == [Presence.ONLINE, Presence.OFFLINE])
            assert watcher.on("components/heating/state")[-1].retain

    asyncio.run(scenario())


def test_publications_are_stamped_and_numbered(own_broker: RealBroker) -> None:
    async def scenario() -> None:
        async with Watcher(own_broker) as watcher, Device(own_broker) as device, running(Echo(), own_broker.settings):
            await until(lambda: presence(watcher))
            for celsius in (1, 2, 3):
                await device.reads(reading(celsius))
            await until(lambda: len(levels(watcher)) == 3)
        ours = [each for each in watcher.received if not each.topic.startswith("/readings")]
        stamps = [read_stamp(parse_properties(each.properties).user) for each in ours]
        assert [stamp.seq for stamp in stamps] == [1, 2, 3, 4, 5]
        assert {stamp.source for stamp in stamps} == {"heating"}
        assert len({stamp.boot for stamp in stamps}) == 1
        assert [stamp.plant_at is not None for stamp in stamps] == [False, True, True, True, False]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "payload", [b"", b"x", b"\xff\xfe", b"null", b"[" * 10_000, b'{"sensorID":"s"}', b"x" * 1_000_000, reading(2000)]
)
def test_a_rejected_payload_is_published_whole(own_broker: RealBroker, payload: bytes) -> None:
    async def scenario() -> None:
        async with Watcher(own_broker) as watcher, Device(own_broker) as device, running(Echo(), own_broker.settings):
            await until(lambda: presence(watcher))
            await device.reads(payload)
            await device.reads(reading(21))
            await until(lambda: levels(watcher) == [21])
            (delivery,) = watcher.on("rejected/heating")
            found = msgspec.json.decode(delivery.payload, type=components.RejectedMessage)
            assert found.topic == "/readings/runtime/temperature"
            assert found.reason
            assert (base64.b64decode(found.payload) if found.encoding == "base64" else found.payload.encode()) == payload

    asyncio.run(scenario())


def test_a_broker_restart_is_survived(own_broker: RealBroker) -> None:
    async def scenario() -> None:
        async with running(Echo(), own_broker.settings):
            async with Watcher(own_broker) as watcher:
                await until(lambda: presence(watcher))
            await asyncio.to_thread(own_broker.restart)
            async with Watcher(own_broker) as watcher, Device(own_broker) as device:
                await until(lambda: presence(watcher)[-1:] == [Presence.ONLINE])
                await device.reads(reading(22))
                await until(lambda: levels(watcher) == [22])

    asyncio.run(scenario())


def test_queued_publications_arrive_in_order(own_broker: RealBroker) -> None:
    async def scenario() -> None:
        async with running(Echo(), own_broker.settings) as runtime:
            async with Watcher(own_broker) as watcher:
                await until(lambda: presence(watcher))
            await asyncio.to_thread(own_broker.stop)
            for level in range(50):
                runtime.publish(heating.VALVE_LEVEL.publication(heating.ValveLevel(level), room="runtime"))
            await asyncio.to_thread(own_broker.start)
            await until(lambda: runtime._connection.unsent == 0)
            async with Watcher(own_broker) as watcher:
                await until(lambda: levels(watcher) == [49])

    asyncio.run(scenario())


def test_a_killed_connection_publishes_the_will(own_broker: RealBroker) -> None:
    async def scenario() -> None:
        async with Watcher(own_broker) as watcher, running(Echo(), own_broker.settings) as runtime:
            await until(lambda: presence(watcher) == [Presence.ONLINE])
            abort(runtime)
            await until(lambda: presence(watcher) == [Presence.ONLINE, Presence.OFFLINE, Presence.ONLINE])

    asyncio.run(scenario())


def test_of_two_instances_the_later_one_continues(own_broker: RealBroker) -> None:
    async def scenario() -> None:
        async with Watcher(own_broker) as watcher, Device(own_broker) as device:
            first = asyncio.create_task(Runtime(HEATING, Echo(), own_broker.settings).run())
            await until(lambda: presence(watcher) == [Presence.ONLINE])
            async with running(Echo(), own_broker.settings):
                with pytest.raises(TakenOver, match="running twice"):
                    await asyncio.wait_for(first, 20)
                await until(lambda: presence(watcher)[-1] is Presence.ONLINE)
                await device.reads(reading(23))
                await until(lambda: levels(watcher) == [23])

    asyncio.run(scenario())


@pytest.mark.parametrize("restored", [EARLIER, EVEN_EARLIER])
def test_states_of_earlier_starts_are_ignored(own_broker: RealBroker, restored: str) -> None:
    """A broker that was killed may restore a state several starts old: one that this start has never received too."""

    def state_of(boot: str) -> gmqtt.Message:
        state = components.ComponentState(state=Presence.ONLINE, boot=boot, version="0")
        published = components.STATE.publication(state, component="heating")
        return gmqtt.Message(published.topic, published.payload, qos=1, retain=True)

    async def scenario() -> None:
        async with Watcher(own_broker) as watcher, Watcher(own_broker, "heating", "leftover") as leftover:
            leftover.connection.publish(state_of(EARLIER))
            assert await leftover.connection.flush(10)
            async with running(Echo(), own_broker.settings) as runtime:
                own = runtime._publisher.boot
                await until(lambda: own == read_boot(watcher.received[-1]))
                abort(runtime)
                await until(lambda: presence(watcher)[-1] is Presence.OFFLINE)
                leftover.connection.publish(state_of(restored))
                await until(lambda: runtime._connection.connected)
                await asyncio.sleep(1)
                assert runtime._connection.connected
            boots = [read_boot(delivery) for delivery in watcher.on("components/heating/state")]
            assert boots == [EARLIER, own, own, restored, own, own]

    asyncio.run(scenario())


def test_a_publication_outside_the_declaration_is_refused(own_broker: RealBroker) -> None:
    async def scenario() -> None:
        async with running(Echo(), own_broker.settings) as runtime:
            await until(lambda: runtime._connection.connected)
            runtime.publish(Publication(topic="/readings/runtime/temperature", payload=b"x"))
            await until(lambda: runtime._connection.refused == 1)
            runtime.publish(heating.VALVE_LEVEL.publication(heating.ValveLevel(1), room="runtime"))
            assert await runtime._connection.flush(10)
            assert runtime._connection.refused == 1

    asyncio.run(scenario())


def test_deliver_raises_where_a_publication_failed(own_broker: RealBroker) -> None:
    async def scenario() -> None:
        level = heating.VALVE_LEVEL.publication(heating.ValveLevel(7), room="runtime")
        async with Watcher(own_broker) as watcher, running(Echo(), own_broker.settings) as runtime:
            with pytest.raises(BrokerUnavailable, match="no connection"):
                await runtime.deliver(level, 1.0)
            await until(lambda: runtime._connection.connected)
            await runtime.deliver(level, 5.0)
            await until(lambda: levels(watcher) == [7])
            with pytest.raises(BrokerUnavailable, match="access rules"):
                await runtime.deliver(Publication(topic="/readings/runtime/temperature", payload=b"x"), 5.0)
            own_broker.kill()
            with pytest.raises(BrokerUnavailable):
                await runtime.deliver(level, 5.0)
            await until(lambda: not runtime._connection.connected)
            assert runtime._connection.unsent <= 1, "a publication that was given up is not sent again"

    asyncio.run(scenario())


def test_a_frozen_broker_times_out(own_broker: RealBroker) -> None:
    if not isinstance(own_broker.process, LocalMosquitto):
        pytest.skip("a broker in a container is frozen otherwise")
    broker = own_broker.process

    async def scenario() -> None:
        async with running(Echo(), own_broker.settings) as runtime:
            with pytest.raises(BrokerUnavailable):
                await runtime.ping(1.0)
            await until(lambda: runtime._connection.connected)
            await runtime.ping(5.0)
            broker.signal(signal.SIGSTOP)
            try:
                for attempt in (runtime.ping(0.3), runtime.deliver(heating.STATE.publication(STATE, room="runtime"), 0.3)):
                    with pytest.raises(BrokerUnavailable, match=r"has not answered within 0\.3 s"):
                        await attempt
            finally:
                broker.signal(signal.SIGCONT)
            await runtime.ping(5.0)

    asyncio.run(scenario())


def test_missed_messages_come_after_the_retained_ones(own_broker: RealBroker) -> None:
    """A kept session misses nothing, and a component receives its own retained state before newer messages."""

    class Listener(Echo):
        def __init__(self) -> None:
            super().__init__()
            self.received: list[tuple[bytes, bool]] = []

        def on_message(self, message: Message, now_s: float) -> list[Publication]:
            self.received.append((message.payload, message.retain))
            return []

    declaration = dataclasses.replace(HEATING, subscribes=(heating.READING, heating.SETPOINT), session_s=60)

    async def start(component: Echo) -> tuple[Runtime, "asyncio.Task[None]"]:
        runtime = Runtime(declaration, component, own_broker.settings)
        task = asyncio.create_task(runtime.run())
        await until(lambda: runtime._is_online)
        return runtime, task

    async def scenario() -> None:
        _, task = await start(Listener())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with Device(own_broker) as device:
            await device.reads(reading(20))
            await device.reads(reading(21))
        async with Watcher(own_broker, account="operator", client_id="op") as operator:
            operator.connection.publish(gmqtt.Message("heating/r/setpoint", b'{"celsius":20}', qos=1, retain=True))
            assert await operator.connection.flush(10)
        listener = Listener()
        runtime, task = await start(listener)
        await until(lambda: len(listener.received) >= 4)
        assert listener.received[0] == (b'{"celsius":20}', True)
        assert [payload for payload, retain in listener.received if not retain] == [reading(20), reading(21), b'{"celsius":20}']
        runtime.stop()
        await asyncio.wait_for(task, 20)

    asyncio.run(scenario())


def test_a_bug_in_handling_a_missed_message_is_fatal(own_broker: RealBroker) -> None:
    class Faulty(Echo):
        def on_message(self, message: Message, now_s: float) -> list[Publication]:
            raise ZeroDivisionError

    declaration = dataclasses.replace(HEATING, session_s=60)

    async def scenario() -> None:
        first = Runtime(declaration, Echo(), own_broker.settings)
        task = asyncio.create_task(first.run())
        await until(lambda: first._is_online)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with Device(own_broker) as device:
            await device.reads(reading(20))
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(Runtime(declaration, Faulty(), own_broker.settings).run(), 20)

    asyncio.run(scenario())


def test_a_service_is_online_only_while_it_works(own_broker: RealBroker) -> None:
    async def scenario() -> None:
        service = Service()
        async with Watcher(own_broker) as watcher:
            async with running(service, own_broker.settings) as runtime:
                await until(lambda: runtime._connection.connected)
                assert presence(watcher) == []
                service.may_work.set()
                await until(lambda: presence(watcher) == [Presence.ONLINE])
            assert service.finished

    asyncio.run(scenario())


def test_plant_time_is_scaled_once(own_broker: RealBroker) -> None:
    async def scenario() -> None:
        settings = dataclasses.replace(own_broker.settings, time_scale=600.0)
        echo = Echo()
        async with running(echo, settings):
            await until(lambda: len(echo.ticks) >= 20)
        steps = [later - earlier for earlier, later in itertools.pairwise(echo.ticks)]
        assert sorted(steps)[len(steps) // 2] == pytest.approx(10, rel=0.5)

    asyncio.run(scenario())


def test_it_stops_at_once_while_waiting_for_a_broker(own_broker: RealBroker) -> None:
    async def scenario() -> None:
        own_broker.stop()
        async with running(Echo(), own_broker.settings):
            await asyncio.sleep(0)
        own_broker.start()

    asyncio.run(scenario())


def test_a_refused_password_is_retried(own_broker: RealBroker, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        settings = dataclasses.replace(own_broker.settings, mqtt_username="heating", mqtt_password="wrong")
        async with running(Echo(), settings):
            await until(lambda: "refused heating" in caplog.text)

    asyncio.run(scenario())
    assert "Bad User Name or Password" in caplog.text or "Not authorized" in caplog.text
