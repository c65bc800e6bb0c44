"""Chargers and widgets beyond this machine: wss, logins, and what ends with an account."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from adapters.chargers.component import ChargerAdapter
from adapters.chargers.ocpp.numbers import TransactionNumbers
from adapters.chargers.ocpp.tags import IdTags
from adapters.listening import Listening
from adapters.outside import acceptor
from broker.contract.charging.topics import PAIRS, STATUS, Pairs, Status, status_event
from broker.contract.roles import Role
from broker.launch import tls
from broker.message import Message, Publication
from tests.adapters.chargers.fakes import NOWHERE, TIMEOUT_S, FakeBus
from tests.adapters.outside.world import World
from tests.peers.ocpp import Charger
from tests.real_broker import free_ports

SOC = '{"event":"StateOfCharge","data":{"soc":70}}'


class Served:
    """A running adapter with one pair."""

    def __init__(self, world: World, room: int = 100, plaintext: bool = False) -> None:
        self.world, self.bus, self.working = world, FakeBus(), list[bool]()
        self.chargers, self.widgets = free_ports(2)
        listening = [
            Listening((), port, "SCAUP_TEST_PORT", what, outside=world.outside(port, plaintext))
            for port, what in ((self.chargers, "charger"), (self.widgets, "widget"))
        ]
        numbers = TransactionNumbers(NOWHERE, 0, datetime.now(UTC))
        self.adapter = ChargerAdapter("charger-adapter", "boot", listening[0], listening[1], room, numbers, IdTags(None))
        self.bus.adapters.append(self.adapter)
        self.hear(PAIRS.publication(Pairs({"c1234": "wABCD"})))
        self.task = asyncio.create_task(self.adapter.serve(self.bus, self.working.append))

    def hear(self, publication: Publication) -> None:
        self.adapter.on_message(Message(topic=publication.topic, payload=publication.payload), 0.0)

    def connect(self, path: str, name: str | None, password: str | None = None, **options: Any) -> connect:
        headers = {} if name is None else {"Authorization": self.world.login(name, password)}
        port = self.widgets if path.startswith("/widgets") else self.chargers
        return connect(
            f"wss://127.0.0.1:{port}{path}",
            ssl=self.world.trust,
            additional_headers=headers,
            open_timeout=TIMEOUT_S,
            close_timeout=TIMEOUT_S,
            **options,
        )


@asynccontextmanager
async def served(world: World, plaintext: bool = False) -> AsyncIterator[Served]:
    world.add({"c1234": Role.DEVICE, "wABCD": Role.DEVICE})
    it = Served(world, plaintext=plaintext)
    async with asyncio.timeout(TIMEOUT_S):
        while not it.working:
            await asyncio.sleep(0.01)
    try:
        yield it
    finally:
        it.task.cancel()
        with suppress(asyncio.CancelledError):
            await it.task


def test_charger_and_widget_are_served_over_tls(world: World) -> None:
    async def check() -> None:
        async with served(world) as it:
            async with it.connect("/chargers/c1234", "c1234") as charger, it.connect("/widgets/wABCD", "wABCD") as widget:
                await charger.send(SOC)
                await it.bus.until(it.bus.socs)
                it.hear(STATUS.publication(status_event(Status.CHARGED), id="wABCD"))
                assert "charged" in str(await asyncio.wait_for(widget.recv(), TIMEOUT_S))
                await charger.send(SOC + " " * 300_000)  # longer than a TLS record and than a buffer of the adapter
                await it.bus.until(it.bus.rejected)
            await it.bus.until(lambda: not it.bus.linked())

    asyncio.run(check())


@pytest.mark.parametrize(
    ("path", "name", "password", "status"),
    [
        ("/chargers/c1234", None, None, 401),
        ("/chargers/nothing", None, None, 401),
        ("/chargers/c1234", "c1234", "wrong", 401),
        ("/chargers/c1234", "ship-7", None, 403),
        ("/chargers/c1234", "vera", None, 403),
        ("/widgets/wABCD", "c1234", None, 403),
        ("/widgets/wABCD", "vera", None, 403),
        ("/chargers/nothing", "ada", None, 404),
        ("/chargers/c1234", "ada", None, 101),
        ("/widgets/wABCD", "otto", None, 101),
    ],
)
def test_a_client_has_the_name_of_its_account(
    world: World, path: str, name: str | None, password: str | None, status: int
) -> None:
    async def check() -> None:
        async with served(world) as it:
            if status == 101:
                async with it.connect(path, name):
                    return
            with pytest.raises(InvalidStatus) as caught:
                await it.connect(path, name, password).__aenter__()
            response = caught.value.response
            assert response.status_code == status
            assert ("WWW-Authenticate" in response.headers) == (status == 401)

    asyncio.run(check())


def test_charger_stays_connected_after_its_login(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "LOGIN_WITHIN_S", 0.3)

    async def check() -> None:
        async with served(world) as it, it.connect("/chargers/c1234", "c1234") as charger:
            await asyncio.sleep(0.6)
            await charger.send(SOC)
            await it.bus.until(it.bus.socs)

    asyncio.run(check())


def test_page_of_a_foreign_site_is_refused_with_a_login_too(world: World) -> None:
    async def check() -> None:
        async with served(world) as it:
            with pytest.raises(InvalidStatus) as caught:
                await it.connect("/chargers/c1234", "c1234", origin="https://evil.example").__aenter__()
            assert caught.value.response.status_code == 403

    asyncio.run(check())


def test_charger_is_cut_off_when_its_account_changes(world: World) -> None:
    async def check() -> None:
        async with served(world) as it, it.connect("/chargers/c1234", "c1234") as charger:
            world.add({"other": Role.VIEWER})
            await asyncio.sleep(1.2)
            await charger.send(SOC)
            await it.bus.until(it.bus.socs)
            world.add({"c1234": Role.DEVICE})  # a new password
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(charger.recv(), 3)
            assert it.bus.links()[-1].reason == "its account was removed or changed"
            async with it.connect("/chargers/c1234", "c1234"):
                pass

    asyncio.run(check())


@pytest.mark.parametrize("profile", [1, 2])
def test_ocpp_charger_logs_in_with_its_name(world: World, profile: int) -> None:
    """OCPP security profile 1 is a login in plain text, profile 2 the same over TLS."""

    async def check() -> None:
        async with served(world, plaintext=profile == 1) as it:
            scheme, more = ("ws", []) if profile == 1 else ("wss", [str(world.settings.data_dir / tls.AUTHORITY)])
            url = f"{scheme}://localhost:{it.chargers}/ocpp"
            name, password = ("c1234", "wrong") if profile == 1 else ("c99", world.passwords["c1234"])
            refused = Charger(url, name, "ocpp1.6", "strict", password, *more)
            line = await asyncio.to_thread(refused.wait, lambda line: "refused" in line)
            await asyncio.to_thread(refused.stop)
            assert line["refused"] == "Unauthorized"
            charger = Charger(url, "c1234", "ocpp1.6", "strict", world.passwords["c1234"], *more)
            try:
                assert "currentTime" in await asyncio.to_thread(charger.call, "Heartbeat")
            finally:
                await asyncio.to_thread(charger.stop)
            assert it.bus.links()[0].connected
            assert it.bus.on("chargers/c99/link") == []

    asyncio.run(check())
