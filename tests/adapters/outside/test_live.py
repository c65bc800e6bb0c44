"""A websocket of the HTTP server beyond this machine: the login of its handshake, and its end with the account."""

import asyncio
from typing import Any

import pytest
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from adapters.http.access import account_of
from adapters.http.app import application
from adapters.http.openapi import document
from adapters.http.server import HttpServer, serve
from adapters.http.watch import BrokerWatch
from adapters.listening import Listening
from broker.contract.roles import Role
from tests.adapters.http.fakes import TIMEOUT_S, FakeBus, running, until
from tests.adapters.outside.world import World
from tests.real_broker import free_ports


async def live(socket: WebSocket) -> None:
    await socket.accept()
    account = account_of(socket)
    await socket.send_text(account.name if account else "")
    async for _ in socket.iter_text():
        pass


async def scenario(world: World, name: str, plaintext: bool, then: Any) -> None:
    port, working, watch = free_ports(1)[0], list[bool](), BrokerWatch()
    listening = Listening((), port, "SCAUP_TEST_PORT", outside=world.outside(port, plaintext))
    app = application(
        [], document("Test", "", {}, {}), watch, listening.access,
        authenticator=listening.authenticator, others=[WebSocketRoute("/live", live)],
    )  # fmt: skip
    server = HttpServer(app, listening, websockets=True)
    async with running(serve(server, watch, FakeBus(), working.append)):
        await until(lambda: working)
        url = f"{'ws' if plaintext else 'wss'}://127.0.0.1:{port}/live"
        headers = {"Authorization": world.login(name)} if name else {}
        trust = None if plaintext else world.trust
        await then(server, lambda: connect(url, ssl=trust, additional_headers=headers, open_timeout=TIMEOUT_S))


@pytest.mark.parametrize(("name", "status"), [("", 401), ("ship-7", 403), ("confined", 403)])
def test_websocket_needs_a_login_that_may_read(world: World, name: str, status: int) -> None:
    world.add({"confined": Role.VIEWER}, ("machines/1/#",))

    async def then(_server: HttpServer, connected: Any) -> None:
        with pytest.raises(InvalidStatus) as caught:
            await connected().__aenter__()
        assert caught.value.response.status_code == status

    asyncio.run(scenario(world, name, False, then))


@pytest.mark.parametrize("plaintext", [False, True])
def test_websocket_ends_with_its_account(world: World, plaintext: bool) -> None:
    async def then(server: HttpServer, connected: Any) -> None:
        async with connected() as socket:
            assert await socket.recv() == "vera"
            world.remove("vera")
            with pytest.raises(ConnectionClosed) as caught:
                await asyncio.wait_for(socket.recv(), 3)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1008

    asyncio.run(scenario(world, "vera", plaintext, then))


def test_ended_websockets_take_no_room(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.http.server.MAX_OUTSIDE", 3)

    async def then(server: HttpServer, connected: Any) -> None:
        for _ in range(8):
            async with connected() as socket:
                assert await socket.recv() == "vera"

    asyncio.run(scenario(world, "vera", True, then))
