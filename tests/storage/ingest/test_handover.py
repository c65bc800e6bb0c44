"""The handover between two recording sessions, crashed at every one of its steps, against a model of broker and database."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest

from broker.message import Publication
from broker.mqtt.options import Address, Options
from broker.mqtt.packets import Delivery
from storage.ingest import handover
from storage.ingest.handover import SessionHandover
from storage.ingest.session import session_options

EARLIER, NEW = session_options(""), session_options("secret")
ADDRESS = Address(host="127.0.0.1", port=1)
T = TypeVar("T")


class Crash(Exception):
    """Stands for a kill of the recorder."""


class Session:
    """A session at the broker: what it holds until it is acknowledged, in order."""

    def __init__(self) -> None:
        self.subscribed = False
        self.queue: list[Delivery] = []


class World:
    """Broker, database and note: what survives a kill of the recorder. A message is published at each step."""

    def __init__(self, earlier: bool) -> None:
        self.sessions: dict[str, Session] = {}
        self.note = ""
        self.numbers = 0
        self.recorded: list[tuple[int, bytes]] = []
        self.published: list[bytes] = []
        self.unsettled: list[tuple[Session, Delivery]] = []
        self.steps, self.crash_at, self.lose_acknowledgements = 0, 0, False
        if earlier:
            self.sessions[EARLIER.full_client_id] = Session()
            self.sessions[EARLIER.full_client_id].subscribed = True
            self.numbers = 1
            self.publish("/t", b"committed")
            self.publish("/t", b"queued")
            self.recorded.append((1, b"committed"))

    def step(self) -> None:
        self.steps += 1
        self.publish("/t", str(self.steps).encode())
        if self.steps == self.crash_at:
            if self.lose_acknowledgements:
                self.unsettled.clear()
            raise Crash

    def publish(self, topic: str, payload: bytes) -> None:
        subscribed = [each for each in self.sessions.values() if each.subscribed]
        for session in subscribed:
            session.queue.append(Delivery(topic, payload, 1, False, False, len(self.published) + 1, b""))
        if subscribed and topic == "/t":
            self.published.append(payload)

    def settle(self) -> None:
        """Let the broker handle the acknowledgements that are on their way."""
        for session, delivery in self.unsettled:
            if delivery in session.queue:
                session.queue.remove(delivery)
        self.unsettled.clear()

    def write_note(self, _data_dir: Path, _name: str, note: str) -> None:
        self.step()
        self.note = note
        self.step()

    async def deliver(self, publication: Publication) -> None:
        self.step()
        self.publish(publication.topic, publication.payload)
        self.step()

    async def end_session(self, _address: Address, options: Options) -> None:
        self.step()
        self.settle()
        self.sessions.pop(options.full_client_id, None)
        self.step()


class Visit:
    """A connection to a session of the model."""

    def __init__(self, world: World, options: Options, on_deliveries: Callable[[list[Delivery]], None]) -> None:
        self._world, self._options, self._on_deliveries = world, options, on_deliveries
        self._delivered = 0
        self.present = False

    async def __aenter__(self) -> Self:
        self._world.settle()
        self.present = self._options.full_client_id in self._world.sessions
        self._session = self._world.sessions.setdefault(self._options.full_client_id, Session())
        self._open = list(self._session.queue)
        self._world.step()
        self._flush()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._world.step()

    async def subscribe(self) -> None:
        self._world.step()
        self._session.subscribed = True
        self._world.step()

    async def ping(self) -> None:
        self._world.step()
        self._world.settle()
        self._flush()

    async def wait(self, awaited: Awaitable[T]) -> T:
        waiting = asyncio.ensure_future(awaited)
        for _ in range(100):
            await asyncio.sleep(0)
            if waiting.done():
                break
            self._flush()
        return await waiting

    def acknowledge(self, deliveries: list[Delivery]) -> int:
        self._world.unsettled += [(self._session, each) for each in deliveries]
        self._world.step()
        return len(deliveries)

    def _flush(self) -> None:
        seen = {id(each) for each in self._open[: self._delivered]}
        new = [each for each in self._session.queue if id(each) not in seen]
        self._open, self._delivered = self._open[: self._delivered] + new, self._delivered + len(new)
        if new:
            self._on_deliveries(new)


class Recording:
    """The recorder's part: it recognises what an earlier connection of the same session committed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.link: Any = None
        self.session = 0
        self._pending: list[Delivery] = []

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        self._pending += deliveries

    async def record_from(self, link: Any, session: int) -> None:
        await self.until_committed()
        self.link, self.session = link, session

    async def until_committed(self) -> None:
        pending, self._pending = self._pending, []
        for each in pending:
            if each.topic == "/t" and (self.session, each.payload) not in self._world.recorded:
                self._world.recorded.append((self.session, each.payload))
        self._world.step()
        if pending:
            self.link.acknowledge(pending)

    async def last_session(self) -> int:
        return self._world.numbers

    async def begin_session(self) -> int:
        self._world.step()
        self._world.numbers += 1
        self._world.step()
        return self._world.numbers

    def report(self, working: bool) -> None:
        pass


async def start(world: World) -> None:
    """Start the recorder once: the handover, and then what the new session holds."""
    recording = Recording(world)
    hand_over = SessionHandover(
        ADDRESS,
        EARLIER,
        NEW,
        recording,  # type: ignore[arg-type]
        world.deliver,
        Path(),
        "recorder",
    )
    await hand_over.run()
    new = Visit(world, NEW, recording.on_deliveries)
    await recording.record_from(new, await recording.last_session())
    async with new:
        if not new.present:
            await recording.begin_session()
            await new.subscribe()
        await new.ping()
        await recording.until_committed()
        await new.ping()


def run(world: World, monkeypatch: pytest.MonkeyPatch, crashes: tuple[int, ...], lose: bool) -> None:
    monkeypatch.setattr(handover, "Visit", lambda _address, options, take=lambda _: None: Visit(world, options, take))
    monkeypatch.setattr(handover, "end_session", world.end_session)
    monkeypatch.setattr(handover, "write_note", world.write_note)
    monkeypatch.setattr(handover, "read_note", lambda *_: world.note)
    world.lose_acknowledgements = lose
    for crash in (*crashes, 0):
        world.crash_at = world.steps + crash if crash else 0
        try:
            asyncio.run(start(world))
        except Crash:
            continue
    asyncio.run(start(world))
    assert world.note == "done"
    assert EARLIER.full_client_id not in world.sessions


def check(world: World) -> None:
    payloads = [payload for _, payload in world.recorded]
    held = [each.payload for each in world.sessions[NEW.full_client_id].queue]
    assert len(payloads) == len(set(payloads)), "recorded twice"
    assert {*payloads, *held} == {*world.published}
    assert not {*payloads} & {*held} or world.unsettled


@pytest.mark.parametrize("lose", [False, True])
def test_a_crash_at_any_step_loses_and_doubles_nothing(monkeypatch: pytest.MonkeyPatch, lose: bool) -> None:
    undisturbed = World(earlier=True)
    run(undisturbed, monkeypatch, (), lose=False)
    check(undisturbed)
    assert undisturbed.steps > 40
    for crash in range(1, undisturbed.steps):
        world = World(earlier=True)
        run(world, monkeypatch, (crash,), lose)
        check(world)


@pytest.mark.parametrize("lose", [False, True])
def test_two_crashes_lose_and_double_nothing(monkeypatch: pytest.MonkeyPatch, lose: bool) -> None:
    for crashes in itertools.product(range(1, 70, 2), range(1, 70, 3)):
        world = World(earlier=True)
        run(world, monkeypatch, crashes, lose)
        check(world)


def test_without_an_earlier_session_nothing_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(earlier=False)
    run(world, monkeypatch, (), lose=False)
    check(world)
    assert world.numbers == 1
