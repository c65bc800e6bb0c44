"""Accounts on a real broker: what each role may do, and changes while a thousand clients are connected."""

import asyncio
import itertools
import resource
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.client.declaration import OPERATOR
from adapters.launcher.accounts import Action, Change, carry_out
from adapters.launcher.checks import Verdict, roles
from adapters.launcher.registry import components
from broker.contract.roles import Role
from broker.launch import mosquitto
from broker.launch.access import access_file
from broker.launch.accounts import locked, new_account, write_accounts
from broker.runtime.settings import read_password
from tests import real_broker
from tests.crowd import Small, connect_all
from tests.real_broker import LocalMosquitto, RealBroker
from tests.system.test_recorder import RecorderProcess

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]

REFUSED = 0x87
DONE = (0, 0x10)
"""Acknowledged, with a subscriber or without."""

TOPICS = {
    "heating": ["/actuators/office", "/actuators/hall", "heating/office/state"],
    "sim-machines": ["machines/office/reading"],
    "recorder": [
        "storage/stats",
        *(f"storage/answer/{each}" for each in ("carol/1", "alice/1", "operator/1", "carol", "free")),
    ],
    "charging": ["charging/answer/alice/1", "charging/pairs"],
    "fastening": ["fastening/d/answer/alice/1", "fastening/d/event"],
    "energy": ["energy/answer/office/1", "energy/answer/energy-api"],
    "operator": ["heating/office/setpoint", "machines/office/status", "machines/hall/status", "storage/query"],
    "office": ["/readings/office/temperature"],
}
"""Who publishes what while all listen."""
PLANT = {topic for topics in TOPICS.values() for topic in topics if "answer" not in topic}

READS = {
    "": PLANT,
    "viola": PLANT,
    "warden": {"heating/office/state", "heating/office/setpoint"},
    "office": {"/actuators/office", "machines/office/status", "energy/answer/office/1"},
    "alice": PLANT | {"storage/answer/alice/1", "charging/answer/alice/1", "fastening/d/answer/alice/1"},
    "carol": PLANT | {"storage/answer/carol/1", "storage/answer/carol"},
    "operator": PLANT | {"storage/answer/operator/1", "storage/answer/carol", "storage/answer/free"},
    "energy-api": {"energy/answer/energy-api"},
}
"""What each of them gets who subscribes to everything."""
CLIENTS = {"office": "alice/1", "alice": "free", "carol": "operator/1"}
"""Client ids that some of them choose, to get what is meant for others."""

DEVICES = {"/readings/x/temperature", "machines/x/reading", "machines/x/status", "energy/x/raw"}
OFFICE = {"/readings/office/temperature", "machines/office/reading", "energy/office/raw"}
OPERATORS = {"heating/x/setpoint", "machines/x/status", "storage/query", "storage/cancel", "components/forget"}
OPERATORS |= {"fastening/x/request", "charging/request"}
FORBIDDEN = {"/actuators/x", "heating/x/state", "components/heating/state", "rejected/heating", "storage/answer/alice/1"}
FORBIDDEN |= {"storage/stats", "torque/x/command", "$SYS/x"}

PUBLISHES = {
    "": DEVICES | OFFICE,
    "viola": set(),
    "warden": set(),
    "office": OFFICE,
    "gateway": {"/readings/x/temperature", "/readings/office/temperature", "press/4/torque"},
    "alice": OPERATORS,
    "carol": OPERATORS | DEVICES | OFFICE | {"storage/request", "replay/x"},
}
TRIED = {topic for topics in PUBLISHES.values() for topic in topics} | FORBIDDEN


@pytest.fixture(autouse=True, scope="module")
def _many_files() -> None:
    """Let this process and the brokers that it starts open a file for each of the thousand clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4_096:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4_096, hard))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RealBroker]:
    made = real_broker.create(tmp_path)
    made.start()
    yield made
    real_broker.remove(made)


@pytest.fixture
def passwords(broker: RealBroker) -> dict[str, str | None]:
    """Accounts of every role; the passwords of components, and none for the client without an account."""
    found = {name: read_password(broker.data_dir, name) for name in (*TOPICS, "energy-api")}
    found["viola"] = add(broker, "viola", Role.VIEWER)
    found["warden"] = add(broker, "warden", Role.VIEWER, "heating/#", "storage/answer/#")
    found["office"] = add(broker, "office", Role.DEVICE)
    found["gateway"] = add(broker, "gateway", Role.DEVICE, "/readings/#", "press/#")
    found["alice"] = add(broker, "alice", Role.OPERATOR)
    found["carol"] = add(broker, "carol", Role.ADMIN)
    broker.reload()
    return {**found, "": None}


def add(broker: RealBroker, name: str, role: Role, *topics: str) -> str:
    outcome = carry_out(broker.data_dir, Change(action=Action.ADD, name=name, role=role, topics=topics))
    assert outcome.password, outcome.error
    return outcome.password


_numbers = itertools.count()


@asynccontextmanager
async def connected(
    broker: RealBroker, name: str, password: str | None, client: str = "", host: str = "127.0.0.1"
) -> AsyncIterator[Small]:
    made = Small(client or f"client-{next(_numbers)}", (name, password) if password else None)
    await login(broker, made, host)
    try:
        yield made
    finally:
        await made.close()


async def login(broker: RealBroker, client: Small, host: str) -> None:
    """Connect, as soon as the broker accepts the login."""
    async with asyncio.timeout(15):
        while await client.connect(broker.port, host) != 0:
            await client.close()
            await asyncio.sleep(0.02)


def test_each_role_reads_what_it_may(broker: RealBroker, passwords: dict[str, str | None]) -> None:
    async def read() -> dict[str, set[str]]:
        async with AsyncExitStack() as stack:
            readers = {
                name: await stack.enter_async_context(connected(broker, name, passwords[name], CLIENTS.get(name, "")))
                for name in READS
            }
            for each in readers.values():
                await each.subscribe("#")
            for name, topics in TOPICS.items():
                publisher = await stack.enter_async_context(connected(broker, name, passwords[name]))
                for topic in topics:
                    assert await publisher.publish(topic, b"{}") in DONE, topic
            for each in readers.values():  # a broker answers in order
                await each.subscribe("end")
            return {name: {topic for topic, _ in each.received} for name, each in readers.items()}

    assert asyncio.run(read()) == READS


def test_each_role_publishes_what_it_may(broker: RealBroker, passwords: dict[str, str | None]) -> None:
    async def code(name: str, topic: str) -> int:
        async with connected(broker, name, passwords[name]) as client:  # 2.0.11 may close one that it refused something
            return await client.publish(topic, b"{}")

    async def publish() -> dict[str, dict[str, int]]:
        return {name: {topic: await code(name, topic) for topic in TRIED} for name in PUBLISHES}

    for name, codes in asyncio.run(publish()).items():
        assert {topic for topic, code in codes.items() if code in DONE} == PUBLISHES[name], name
        assert set(codes.values()) <= {*DONE, REFUSED}, name


def test_doctor_proves_every_role_and_finds_a_wrong_one(monkeypatch: pytest.MonkeyPatch) -> None:
    declarations = {**components(), OPERATOR.name: OPERATOR}
    found = roles.check_roles(declarations)
    assert [each.check for each in found] == [f"role {each}" for each in ("no login", *(role.value for role in Role))]
    assert {each.verdict for each in found} == {Verdict.OK}
    rules = access_file
    monkeypatch.setattr(roles, "access_file", lambda *given: rules(*given).replace("topic deny storage/answer/#\n", ""))
    wrong = {each.check: each.detail for each in roles.check_roles(declarations) if each.verdict is Verdict.FAILED}
    assert sorted(wrong) == ["role no login", "role viewer"]
    assert "it may read storage/answer/" in wrong["role viewer"]


def test_twenty_thousand_invented_things_are_refused(broker: RealBroker) -> None:
    password = add(broker, "office", Role.DEVICE)
    broker.reload()

    async def flood() -> tuple[set[int], list[tuple[str, bytes]]]:
        async with connected(broker, "", None) as watcher, connected(broker, "office", password) as device:
            await watcher.subscribe("#")
            for first in range(0, 20_000, 500):
                topics = [f"/readings/room-{number}/temperature" for number in range(first, first + 250)]
                topics += [f"machines/{number}/reading" for number in range(first + 250, first + 500)]
                await asyncio.gather(*(device.publish(topic, b"{}", retain=True) for topic in topics))
            codes = set(device.codes)
            await device.publish("/readings/office/temperature", b"{}")
            await until(lambda: bool(watcher.received))
            return codes, watcher.received

    assert asyncio.run(flood()) == ({REFUSED}, [("/readings/office/temperature", b"{}")])


def test_a_thousand_clients_stay_while_accounts_change(broker: RealBroker) -> None:
    now = datetime.now(UTC)
    made = {f"d{number}": new_account(f"d{number}", Role.DEVICE, [], now) for number in range(500)}
    with locked(broker.data_dir):
        write_accounts(broker.data_dir, [account for account, _ in made.values()])
        mosquitto.write_logins(broker.data_dir, broker.declarations)
    broker.reload()
    devices = [Small(f"c{name}", (name, password)) for name, (_, password) in made.items()]
    others = [Small(f"n{number}") for number in range(500)]
    asyncio.run(_change_accounts(broker, devices, others, made["d499"][1]))


async def _change_accounts(broker: RealBroker, devices: list[Small], others: list[Small], last_password: str) -> None:
    watcher, ended = Small("watcher"), asyncio.Event()
    everyone = [*devices, *others, watcher]
    async with AsyncExitStack() as stack:
        async with connected(broker, "d499", last_password):
            pass  # by now the broker knows all accounts
        for each in everyone:
            stack.push_async_callback(each.close)
        assert set(await connect_all(everyone, broker.port)) == {0}
        await watcher.subscribe("/readings/#")
        traffic = [asyncio.create_task(report(each, ended)) for each in everyone[:-1]]
        await until(lambda: len(watcher.received) > 1_000)
        for number in range(3):
            since_s = time.monotonic()
            password = await asyncio.to_thread(add, broker, f"new-{number}", Role.DEVICE)
            broker.reload()
            async with connected(broker, f"new-{number}", password):
                assert time.monotonic() - since_s < 2
        since_s = time.monotonic()
        await asyncio.to_thread(carry_out, broker.data_dir, Change(action=Action.REMOVE, name="d0"))
        await asyncio.to_thread(carry_out, broker.data_dir, Change(action=Action.PASSWORD, name="d1"))
        broker.reload()
        await until(lambda: devices[0].lost and devices[1].lost)
        assert time.monotonic() - since_s < 2
        await until(lambda: len(watcher.received) > 4_000)
        ended.set()
        await asyncio.gather(*traffic)
        acknowledged = [code for each in everyone for code in each.codes if code >= 0]
        await until(lambda: len(watcher.received) >= len(acknowledged))
    assert set(acknowledged) <= set(DONE)
    assert [each.name for each in everyone if each.lost] == ["cd0", "cd1"]
    assert len(set(watcher.received)) == len(watcher.received)


def test_a_full_listener_leaves_the_other_and_the_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mosquitto, "most_files", lambda: 300)
    full = real_broker.create(tmp_path)
    if not isinstance(full.process, LocalMosquitto):
        pytest.skip("the limit of open files is that of a container here")
    full.start()
    assert full.process.pid is not None
    resource.prlimit(full.process.pid, resource.RLIMIT_NOFILE, (300, 300))
    clients = [Small(f"n{number}") for number in range(400)]

    async def fill() -> tuple[list[int], int]:
        async with AsyncExitStack() as stack:
            reached = 0
            for each in clients:
                stack.push_async_callback(each.close)
                with suppress(asyncio.IncompleteReadError, ConnectionError):
                    reached += await each.connect(full.port) == 0
            full.reload()
            await asyncio.sleep(0.3)
            other = await stack.enter_async_context(connected(full, "", None, host="::1"))
            return [await each.publish("/actuators/x", b"{}") for each in (clients[0], other)], reached

    try:
        codes, reached = asyncio.run(fill())
    finally:
        full.stop()
    assert codes == [REFUSED, REFUSED]
    assert 10 < reached < 30


async def report(client: Small, ended: asyncio.Event) -> None:
    """Publish numbered readings, two a second, until the end or the loss of the connection."""
    name = client.login[0] if client.login else client.name
    for number in itertools.count():
        if ended.is_set() or client.lost:
            return
        await client.publish(f"/readings/{name}/temperature", b"%d" % number)
        await asyncio.sleep(0.5)


async def until(condition: Callable[[], bool], limit_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline_s, "not in time"
        await asyncio.sleep(0.02)


def test_retained_messages_of_a_device_are_bounded(broker: RealBroker) -> None:
    password = add(broker, "office", Role.DEVICE)
    recorder = RecorderProcess(broker)
    recorder.start()
    recorder.wait_until_online()
    broker.reload()

    async def retain() -> tuple[int, list[bytes]]:
        async with connected(broker, "", None) as watcher, connected(broker, "office", password) as device:
            await watcher.subscribe("rejected/recorder")
            for first in range(0, 3_000, 500):
                each = range(first, first + 500)
                await asyncio.gather(*(device.publish(f"/readings/office/{n}", b"x", retain=True) for n in each))
            kept, limit_s = 0, time.monotonic() + 20
            while kept != 1_000 and time.monotonic() < limit_s:
                await asyncio.sleep(0.2)
                async with connected(broker, "", None) as newcomer:
                    await newcomer.subscribe("/readings/#")
                    await newcomer.subscribe("end")
                    kept = len(newcomer.received)
            return kept, [payload for _, payload in watcher.received]

    try:
        kept, rejected = asyncio.run(retain())
    finally:
        assert recorder.stop() == 0
    assert kept == 1_000
    assert b"retained messages" in rejected[0]
    assert len(rejected) < 30
    assert recorder.rows("SELECT count(*) FROM messages WHERE topic LIKE '/readings/office/%' AND payload = 'x'") == [(3_000,)]
