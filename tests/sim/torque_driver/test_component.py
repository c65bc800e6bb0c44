import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import orjson
import pytest
from click.testing import CliRunner
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from broker.errors import CannotStart
from broker.message import Message, Publication
from broker.runtime.component import Service
from broker.runtime.settings import Settings
from broker.runtime.web_access import WebAccess
from sim.torque_driver.__main__ import _drivers, main
from sim.torque_driver.component import SimulatedTorqueDrivers
from sim.torque_driver.declaration import PORT
from sim.torque_driver.driver import Behaviour, Fault
from tests.real_broker import free_ports

TIMEOUT_S = 10.0
SET_19 = '{"type":"setTorque","data":{"direction":"forward","value":19}}'


class NoBus:
    """The simulated drivers are not on the bus."""

    def publish(self, publication: Publication) -> None:
        raise AssertionError(publication)

    async def deliver(self, publication: Publication, timeout_s: float) -> None:
        raise AssertionError(publication)

    async def ping(self, timeout_s: float) -> None:
        raise AssertionError

    def now_s(self) -> float:
        raise AssertionError


@asynccontextmanager
async def serving(*faults: Fault, delay_s: float = 0.02) -> AsyncIterator[str]:
    (port,) = free_ports(1)
    behaviour = Behaviour(delay_s=delay_s, out_of_range=0, faults=dict.fromkeys(faults, 1.0))
    working: asyncio.Queue[bool] = asyncio.Queue()
    task = asyncio.create_task(
        SimulatedTorqueDrivers(("127.0.0.1",), port, behaviour, WebAccess()).serve(NoBus(), working.put_nowait)
    )
    try:
        assert await asyncio.wait_for(working.get(), TIMEOUT_S)
        yield f"ws://127.0.0.1:{port}"
    finally:
        task.cancel()
        async with asyncio.timeout(TIMEOUT_S):
            with suppress(asyncio.CancelledError):
                await task


def test_web_page_of_a_foreign_site_is_refused() -> None:
    async def check() -> None:
        async with serving() as url:
            with pytest.raises(InvalidStatus) as refused:
                await connect(url, origin=Origin("https://evil.example"))
            assert refused.value.response.status_code == 403
            async with connect(url, origin=Origin(url.replace("ws:", "http:"))) as connection:
                await connection.ping()

    asyncio.run(check())


def test_first_subprotocol_offered_is_accepted() -> None:
    async def check() -> None:
        async with serving() as url, connect(url, subprotocols=[Subprotocol("torque.v2"), Subprotocol("x")]) as connection:
            assert connection.subprotocol == "torque.v2"

    asyncio.run(check())


async def received(connection: ClientConnection) -> str:
    frame = await asyncio.wait_for(connection.recv(), TIMEOUT_S)
    assert isinstance(frame, str)
    return frame


def test_it_is_a_service_that_does_not_use_the_bus() -> None:
    drivers = SimulatedTorqueDrivers(("127.0.0.1",), 1, Behaviour(), WebAccess())
    assert isinstance(drivers, Service)
    assert drivers.on_tick(0.0) == drivers.on_message(Message(topic="x", payload=b""), 0.0) == []


def test_a_set_is_answered_with_an_operation_on_any_path() -> None:
    async def scenario() -> None:
        async with serving() as url, connect(f"{url}/some/path", proxy=None) as client:
            await client.send(SET_19)
            assert orjson.loads(await received(client))["data"]["configuredValue"] == 19
            await client.send(b'{"type":"setTorque","data":{"direction":"reverse"}}')
            assert orjson.loads(await received(client))["data"]["direction"] == "reverse"

    asyncio.run(scenario())


def test_each_connection_is_a_driver_of_its_own() -> None:
    async def scenario() -> None:
        async with serving() as url, connect(url, proxy=None) as one, connect(url, proxy=None) as two:
            await one.send(SET_19)
            await two.send(SET_19.replace("19", "7"))
            of_one, of_two = orjson.loads(await received(one)), orjson.loads(await received(two))
            assert (of_one["data"]["configuredValue"], of_two["data"]["configuredValue"]) == (19, 7)

    asyncio.run(scenario())


def test_frames_that_are_not_json_are_answered() -> None:
    async def scenario() -> None:
        async with serving() as url, connect(url, proxy=None) as client:
            for frame in ("", "no json", b"\xff"):
                await client.send(frame)
                assert orjson.loads(await received(client))["type"] == "error"
            await client.send(SET_19)
            assert orjson.loads(await received(client))["type"] == "operation"

    asyncio.run(scenario())


def test_a_set_while_another_is_pending_replaces_it() -> None:
    async def scenario() -> None:
        async with serving(delay_s=0.1) as url, connect(url, proxy=None) as client:
            await client.send(SET_19)
            await client.send(SET_19.replace("19", "7"))
            await client.send('{"type":"status"}')
            assert orjson.loads(await received(client))["type"] == "status"
            assert orjson.loads(await received(client))["data"]["configuredValue"] == 7

    asyncio.run(scenario())


def test_disconnect_closes_only_its_connection() -> None:
    async def scenario() -> None:
        async with serving(Fault.DISCONNECT) as url, connect(url, proxy=None) as client, connect(url, proxy=None) as other:
            await client.send(SET_19)
            with pytest.raises(ConnectionClosed):
                await received(client)
            assert client.close_code == 1001
            await other.send('{"type":"status"}')
            assert orjson.loads(await received(other))["type"] == "status"

    asyncio.run(scenario())


def test_a_lost_client_does_not_affect_the_others() -> None:
    async def scenario() -> None:
        async with serving() as url, connect(url, proxy=None) as other:
            client = await connect(url, proxy=None)
            await client.send(SET_19)
            client.transport.abort()
            await other.send(SET_19)
            assert orjson.loads(await received(other))["type"] == "operation"

    asyncio.run(scenario())


def test_a_taken_port_is_an_error_with_the_fix() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            drivers = SimulatedTorqueDrivers(("127.0.0.1",), port, Behaviour(), WebAccess())
            with pytest.raises(CannotStart, match=rf"port {port} .* is taken on 127.0.0.1: stop .* {PORT.name}"):
                await asyncio.wait_for(drivers.serve(NoBus(), lambda working: None), TIMEOUT_S)

    asyncio.run(scenario())


def test_a_foreign_address_is_an_error_with_the_fix() -> None:
    async def scenario() -> None:
        drivers = SimulatedTorqueDrivers(("127.0.0.1", "192.0.2.1"), free_ports(1)[0], Behaviour(), WebAccess())
        with pytest.raises(CannotStart, match=rf"cannot be used on 192\.0\.2\.1 .* correct {PORT.name}"):
            await asyncio.wait_for(drivers.serve(NoBus(), lambda working: None), TIMEOUT_S)

    asyncio.run(scenario())


def test_settings_choose_the_port_but_not_other_machines() -> None:
    built = _drivers(Settings.load({"SCAUP_BIND": "192.0.2.1", PORT.name: "9601"}), Behaviour(), 1)
    assert built._port == 9601
    assert set(built._addresses) <= {"127.0.0.1", "::1"}
    assert _drivers(Settings.load({"SCAUP_CONTAINER": "yes"}), Behaviour(), 1)._addresses == ("0.0.0.0",)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--fault", "tired=0.1"], "not NAME=SHARE with NAME one of duplicate, late, silent, stray, reverse"),
        (["--fault", "silent"], "not NAME=SHARE"),
        (["--fault", "silent=much"], "not NAME=SHARE"),
        (["--fault", "silent=1.5"], "not a share from 0 to 1"),
        (["--fault", "silent=nan"], "not a share from 0 to 1"),
        (["--out-of-range", "2"], "range"),
        (["--delay", "-1"], "range"),
    ],
)
def test_wrong_options_are_refused(arguments: list[str], reason: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert reason in " ".join(result.output.split())
