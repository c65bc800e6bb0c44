"""Client ids against a real broker: none can be guessed, and what the sessions of earlier releases hold is handed over."""

import asyncio
import dataclasses
import shutil
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gmqtt
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from adapters.client.declaration import OPERATOR
from adapters.launcher.checks.client_ids import session_at
from adapters.launcher.registry import components
from broker.contract.components.topics import STATE, ComponentState, Presence
from broker.contract.heating import topics as heating
from broker.errors import TakenOver
from broker.message import Message, Publication
from broker.mqtt.connection import Connection, ConnectionListener
from broker.mqtt.options import Options, Subscription
from broker.mqtt.packets import Delivery
from broker.mqtt.visit import Visit, end_session
from broker.runtime.client_id import DONE, read_note
from broker.runtime.declaration import Declaration
from broker.runtime.runtime import Runtime
from broker.runtime.settings import Settings
from storage.clock import WallClock
from storage.database.database import Database
from storage.ingest.handover import SessionHandover
from storage.ingest.session import RecordingSession, session_options
from storage.ingest.stats import Stats
from tests import real_broker
from tests.real_broker import RealBroker
from tests.system.test_cli import scaup
from tests.system.test_recorder import RecorderProcess
from tests.system.test_runtime import Device, Watcher, presence, reading, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


@pytest.fixture
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealBroker]:
    """A broker on which the components, under whose names these tests read, may read everything."""
    declarations = {name: dataclasses.replace(each, reads=("#",)) for name, each in components().items()}
    made = real_broker.create(tmp_path_factory.mktemp("own-broker"), {**declarations, OPERATOR.name: OPERATOR})
    made.start()
    yield made
    real_broker.remove(made)


TOPIC = "/readings/ids/temperature"


class Numbered:
    """Publishes numbered messages as a device without a login, until it is left."""

    def __init__(self, broker: RealBroker, every_s: float = 0.002, qos: tuple[int, ...] = (1, 2)) -> None:
        self._broker, self._every_s, self._qos = broker, every_s, qos
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._publish)
        self.count = 0

    def __enter__(self) -> "Numbered":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _publish(self) -> None:
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        client.connect(self._broker.host, self._broker.port)
        client.loop_start()
        sent = []
        while not self._stop.is_set():
            sent.append(client.publish(TOPIC, str(self.count), qos=self._qos[self.count % len(self._qos)]))
            self.count += 1
            time.sleep(self._every_s)
        for each in sent:
            each.wait_for_publish(30)
        client.disconnect()
        client.loop_stop()


def steal(broker: RealBroker, client_id: str, clean_start: bool) -> tuple[bool, list[str]]:
    """Connect without a login as `client_id` for a moment; return whether there was a session, and the topics received."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
    present: list[bool] = []
    received: list[str] = []
    client.on_connect = lambda _c, _u, flags, *_: present.append(bool(flags.session_present))
    client.on_message = lambda _c, _u, message: received.append(message.topic)
    client.connect(broker.host, broker.port, clean_start=clean_start)
    client.loop_start()
    client.subscribe("x", qos=1)
    time.sleep(0.5)
    client.disconnect()
    client.loop_stop()
    return present[0], received


def recorded(process: RecorderProcess) -> list[int]:
    return [
        int(payload) for (payload,) in process.rows(f"SELECT payload FROM messages WHERE topic = '{TOPIC}' ORDER BY number")
    ]


def test_a_guessed_id_takes_no_message(own_broker: RealBroker) -> None:
    recorder = RecorderProcess(own_broker)
    recorder.start()
    recorder.wait_until_online()
    assert recorder.running
    with Numbered(own_broker) as numbered:
        stolen = [steal(own_broker, "scaup-recorder", clean_start=False)]
        recorder.running.send_signal(signal.SIGSTOP)
        stolen += [
            steal(own_broker, each, clean_start) for each in ("scaup-recorder", "recorder") for clean_start in (True, False)
        ]
        recorder.running.send_signal(signal.SIGCONT)
        time.sleep(0.5)
    time.sleep(1)
    checks = [scaup(own_broker, command) for command in ("gaps", "verify")]
    recorder.stop()
    assert stolen == [(False, [])] * 5
    assert [each.returncode for each in checks] == [0, 0], checks
    assert sorted(recorded(recorder)) == list(range(numbered.count))


def test_doctor_leaves_a_guessed_session_as_it_is(own_broker: RealBroker) -> None:
    options = Options(client_id="energy", session_expiry_s=60, subscriptions=(Subscription(filter="/readings/#"),))
    address = own_broker.settings.broker_address("energy")
    received: list[Delivery] = []

    async def prepare() -> None:
        async with Visit(address, options) as visit:
            await visit.subscribe()
        async with Device(own_broker) as device:
            await device.reads(reading(20))

    async def collect() -> None:
        async with Visit(address, options, received.extend) as visit:
            await visit.ping()
        await end_session(address, options)

    asyncio.run(prepare())
    has_session = session_at(own_broker.settings, "operator")
    assert has_session(options)
    assert has_session(options)
    assert not has_session(Options(client_id="charging", session_expiry_s=60))
    asyncio.run(collect())
    assert [each.payload for each in received] == [reading(20)]


class Keeper:
    """A component that keeps what it receives."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []

    def on_message(self, message: Message, _now_s: float) -> list[Publication]:
        self.payloads.append(message.payload)
        return []

    def on_tick(self, _now_s: float) -> list[Publication]:
        return []


@asynccontextmanager
async def component(declaration: Declaration, settings: Settings) -> AsyncIterator[tuple[Runtime, Keeper]]:
    """Run a component until it is left, which looks like a crash to the broker."""
    keeper = Keeper()
    runtime = Runtime(declaration, keeper, settings)
    task = asyncio.create_task(runtime.run())
    try:
        await until(lambda: runtime._is_online)
        yield runtime, keeper
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def keeping(name: str) -> Declaration:
    return Declaration(name=name, summary="keeps readings", subscribes=(heating.READING,), session_s=60)


@pytest.mark.parametrize("name", [name for name, each in components().items() if each.session_s])
def test_a_guessed_id_takes_no_session(own_broker: RealBroker, name: str) -> None:
    async def scenario() -> None:
        async with component(keeping(name), own_broker.settings) as (runtime, _):
            await until(lambda: runtime._handed_over)
        async with Device(own_broker) as device:
            await device.reads(reading(20))
        assert await asyncio.to_thread(steal, own_broker, name, False) == (False, [])
        assert await asyncio.to_thread(steal, own_broker, name, True) == (False, [])
        async with component(keeping(name), own_broker.settings) as (_, keeper):
            await until(lambda: keeper.payloads == [reading(20)])

    asyncio.run(scenario())


def test_an_earlier_release_hands_its_session_over(own_broker: RealBroker) -> None:
    """More messages than may be unacknowledged, and one that nothing subscribes to any more."""
    count = 2_500
    options = Options(
        client_id="energy",
        subscriptions=(Subscription(filter="/readings/+/temperature"), Subscription(filter="machines/+/reading")),
        session_expiry_s=60,
    )
    address = own_broker.settings.broker_address("energy")

    async def scenario() -> None:
        async with Visit(address, options) as earlier:
            await earlier.subscribe()
        async with Device(own_broker) as device:
            device.connection.publish(gmqtt.Message("machines/1/reading", b"{}", qos=1))
            for number in range(count):
                device.connection.publish(gmqtt.Message(TOPIC, str(number), qos=1))
            assert await device.connection.flush(30)
            expected = [str(number).encode() for number in range(count)]
            async with component(keeping("energy"), own_broker.settings) as (runtime, keeper):
                await until(lambda: runtime._handed_over)
                await device.reads(b"live")
                await until(lambda: len(keeper.payloads) > count)
                assert keeper.payloads == [*expected, b"live"]
            async with component(keeping("energy"), own_broker.settings) as (runtime, keeper):
                await until(lambda: runtime._handed_over)
                await asyncio.sleep(0.5)
                assert keeper.payloads == []
        async with Visit(address, options) as earlier:
            assert not earlier.present
        await end_session(address, options)

    asyncio.run(scenario())


def elsewhere(broker: RealBroker, folder: Path) -> Settings:
    """Return the settings of a second installation on the same broker, with the same accounts."""
    shutil.copytree(broker.data_dir / "credentials", folder / "credentials", ignore=shutil.ignore_patterns("*.client"))
    return dataclasses.replace(broker.settings, data_dir=folder)


@pytest.mark.parametrize("session_s", [0, 60])
def test_of_two_installations_the_later_one_continues(own_broker: RealBroker, tmp_path: Path, session_s: int) -> None:
    declaration = dataclasses.replace(keeping("heating"), session_s=session_s)

    async def scenario() -> None:
        async with Watcher(own_broker) as watcher, Device(own_broker) as device:
            first = asyncio.create_task(Runtime(declaration, Keeper(), own_broker.settings).run())
            await until(lambda: presence(watcher) == [Presence.ONLINE])
            async with component(declaration, elsewhere(own_broker, tmp_path)) as (runtime, keeper):
                with pytest.raises(TakenOver, match="running twice"):
                    await asyncio.wait_for(first, 20)
                await device.reads(reading(23))
                await until(lambda: keeper.payloads == [reading(23)])
                assert runtime._is_online
                assert presence(watcher)[-1] is Presence.ONLINE

    asyncio.run(scenario())


def test_the_will_of_an_earlier_instance_is_corrected(own_broker: RealBroker, tmp_path: Path) -> None:
    declaration = dataclasses.replace(keeping("heating"), session_s=0)

    async def scenario() -> None:
        async with Watcher(own_broker) as watcher, component(declaration, own_broker.settings) as (runtime, _):
            state = ComponentState(state=Presence.OFFLINE, boot="0" * 20, version="0")
            async with Watcher(own_broker, "heating", "earlier") as earlier:
                message = STATE.publication(state, component="heating")
                earlier.connection.publish(gmqtt.Message(message.topic, message.payload, qos=1, retain=True))
                assert await earlier.connection.flush(10)
            await until(lambda: presence(watcher) == [Presence.ONLINE, Presence.OFFLINE, Presence.ONLINE])
            assert runtime._is_online

    asyncio.run(scenario())


class Crash(Exception):
    """Stands for a kill at this point."""


EARLIER, NEW = session_options(""), session_options("secret")


@dataclass
class Recording:
    """The recorder's part of a handover, in this process. `crash` names the step at which it crashes, and before or after."""

    broker: RealBroker
    database: Database
    crash: str = ""
    unacknowledged: bool = False

    def __post_init__(self) -> None:
        self.address = self.broker.settings.broker_address("recorder")
        self.session = RecordingSession(self.address, NEW, self.database, Stats(), lambda batch, drifts: None, WallClock())
        self.handover = SessionHandover(
            self.address, EARLIER, NEW, self.session, self._deliver, self.broker.data_dir, "recorder"
        )
        when, _, step = self.crash.partition(" ")
        if step:
            self._crash_at(when, step)

    def _crash_at(self, when: str, step: str) -> None:
        wrapped: Callable[..., Any] = getattr(self.handover, step)

        async def crashing(*arguments: Any) -> Any:
            if when == "before":
                raise Crash
            await wrapped(*arguments)
            raise Crash

        def crashing_note(note: str) -> None:
            if note.startswith(when):
                raise Crash
            wrapped(note)

        setattr(self.handover, step, crashing_note if step == "_write" else crashing)

    async def _deliver(self, publication: Publication) -> None:
        options = Options(client_id="recorder", secret="runtime")
        connection = Connection(self.address, options, ConnectionListener())
        task = asyncio.create_task(connection.run())
        await until(lambda: connection.connected)
        await connection.deliver(gmqtt.Message(publication.topic, publication.payload, qos=1))
        await connection.disconnect()
        await asyncio.gather(task, return_exceptions=True)

    async def run(self, seconds: float) -> None:
        """Record for some time, unless it crashes before."""
        with suppress(Crash, TimeoutError):
            async with asyncio.timeout(seconds):
                await self.session.run(lambda _: None, self.handover.run)


def numbers(database: Database) -> list[int]:
    with database.cursor() as cursor:
        found = cursor.execute("SELECT payload FROM messages WHERE topic = ? ORDER BY number", [TOPIC]).fetchall()
    return [int(payload) for (payload,) in found]


async def record_as_earlier_release(broker: RealBroker, database: Database) -> None:
    """Record some messages as earlier releases did, and acknowledge none of them; then let some more queue up."""
    address = broker.settings.broker_address("recorder")
    session = RecordingSession(address, EARLIER, database, Stats(), lambda batch, drifts: None, WallClock())
    session.connection.acknowledge = lambda deliveries: 0  # type: ignore[method-assign]
    task = asyncio.create_task(session.run(lambda _: None))
    await until(lambda: session.connection.connected)
    with Numbered(broker) as numbered:
        await asyncio.sleep(0.5)
    await until(lambda: len(numbers(database)) == numbered.count)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


STEPS = ("_find_earlier", "_subscribe", "_publish_mark", "_record", "_skip")
CRASHES = [f"{when} {step}" for step in STEPS for when in ("before", "after")]


@pytest.mark.parametrize("crash", ["", *CRASHES, "recording _write", "skipping _write", "done _write"])
def test_a_handover_loses_and_doubles_nothing(own_broker: RealBroker, tmp_path: Path, crash: str) -> None:
    async def scenario() -> None:
        database = Database(tmp_path / "handover.duckdb", 256, 1)
        await record_as_earlier_release(own_broker, database)
        before = numbers(database)
        with Numbered(own_broker) as numbered:
            await asyncio.sleep(0.3)
            if crash:
                await Recording(own_broker, database, crash).run(20)
                await asyncio.sleep(0.2)
            await Recording(own_broker, database).run(1.5)
        recording = asyncio.create_task(Recording(own_broker, database).run(60))
        await until(lambda: len(numbers(database)) >= len(before) + numbered.count)
        await asyncio.sleep(0.3)  # for what could be recorded twice
        recording.cancel()
        await asyncio.gather(recording, return_exceptions=True)
        assert sorted(numbers(database)) == sorted([*before, *range(numbered.count)])
        assert read_note(own_broker.data_dir, "recorder") == DONE
        async with Visit(own_broker.settings.broker_address("recorder"), EARLIER) as visit:
            assert not visit.present
        database.close()

    asyncio.run(scenario())


def test_a_killed_recorder_completes_the_handover(own_broker: RealBroker) -> None:
    async def earlier() -> None:
        database = Database(own_broker.settings.database, 256, 1)
        await record_as_earlier_release(own_broker, database)
        before.extend(numbers(database))
        database.close()

    before: list[int] = []
    asyncio.run(earlier())
    recorder = RecorderProcess(own_broker)
    with Numbered(own_broker, 0.0005) as numbered:
        notes = set()
        for attempt in range(12):
            recorder.start()
            time.sleep(0.4 + 0.05 * attempt)
            recorder.kill()
            notes.add((read_note(own_broker.data_dir, "recorder") or "").partition(" ")[0])
        recorder.start()
        recorder.wait_until_online()
        time.sleep(1)
    time.sleep(4)
    recorder.stop()
    assert sorted(recorded(recorder)) == sorted([*before, *range(numbered.count)])
    assert read_note(own_broker.data_dir, "recorder") == DONE
    marks = recorder.rows("SELECT source, seq FROM messages WHERE topic = 'storage/handover'")
    assert marks
    assert len(marks) == len(set(recorder.rows("SELECT boot, seq FROM messages WHERE topic = 'storage/handover'")))


def test_a_session_without_subscription_ends_the_handover(own_broker: RealBroker, tmp_path: Path) -> None:
    """A recorder that was killed while it looked for a session may leave an empty one."""

    async def scenario() -> None:
        database = Database(tmp_path / "handover.duckdb", 256, 1)
        async with Visit(own_broker.settings.broker_address("recorder"), EARLIER):
            pass
        with Numbered(own_broker, qos=(1,)) as numbered:
            recording = asyncio.create_task(Recording(own_broker, database).run(60))
            await until(lambda: len(numbers(database)) > 0)
            first = numbers(database)[0]
        await until(lambda: len(numbers(database)) >= numbered.count - first)
        recording.cancel()
        await asyncio.gather(recording, return_exceptions=True)
        assert numbers(database) == list(range(first, numbered.count))
        database.close()

    asyncio.run(scenario())
