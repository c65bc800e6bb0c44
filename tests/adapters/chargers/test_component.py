"""The adapter between sockets and bus: pairs, statuses, start, stop, and a second adapter beside it."""

import asyncio
import socket
import time
from datetime import UTC, datetime

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from adapters.chargers import component
from adapters.chargers.component import ChargerAdapter
from adapters.chargers.ocpp.numbers import TransactionNumbers
from adapters.chargers.ocpp.tags import IdTags
from adapters.chargers.takeover import ELSEWHERE, RESTARTED
from adapters.listening import Listening
from broker.contract.charging.topics import CHARGER_LINK, ClientLink, Status
from broker.errors import CannotStart, Rejected
from broker.message import Message, Publication
from tests.adapters.chargers.fakes import NOWHERE, TIMEOUT_S, FakeBus, Running, closed, next_status, running, until
from tests.adapters.chargers.wire import SOC, TEXT, frame
from tests.real_broker import free_ports

NUMBERS = TransactionNumbers(NOWHERE, 0, datetime(2026, 1, 31, tzinfo=UTC))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(component, "SWEEP_S", 0.01)


def test_early_clients_wait_for_the_pairs_and_are_admitted() -> None:
    async def scenario() -> None:
        async with running(None) as served:
            await until(lambda: served.adapter._servers[1]._sockets.inside)
            charger = await served.raw(more=frame(TEXT, SOC))
            widget = asyncio.ensure_future(served.connect("widgets/wABCD").__aenter__())
            done, _ = await asyncio.wait([widget], timeout=0.05)
            assert not done
            assert (served.working, served.bus.published) == ([], [])
            served.pair({"c1234": "wABCD"})
            await served.bus.until(served.bus.socs)
            await (await asyncio.wait_for(widget, TIMEOUT_S)).close()
            assert served.working == [True]
            await charger.close()

    asyncio.run(scenario())


def test_clients_get_503_until_the_pairs_are_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(component, "PAIRS_TIMEOUT_S", 0.05)

    async def scenario() -> None:
        async with running(None) as served:
            await until(lambda: served.working)
            with pytest.raises(InvalidStatus) as refused:
                async with served.connect():
                    pass
            assert refused.value.response.status_code == 503
            served.pair({"c1234": "wABCD"})
            async with served.connect():
                pass

    asyncio.run(scenario())


def test_pairs_change_at_run_time() -> None:
    async def scenario() -> None:
        async with running() as served, served.connect() as stays:
            served.pair({"c1234": "wABCD", "c2": "w2"})
            async with served.connect("chargers/c2") as connection:
                await connection.send(SOC.decode())
                await served.bus.until(lambda: served.bus.socs("c2"))
                served.pair({"c1234": "wABCD"})
                assert (await closed(connection))[0] == 1008
            await stays.send(SOC.decode())
            await served.bus.until(served.bus.socs)

    asyncio.run(scenario())


def test_reloading_100_000_pairs_is_fast_and_drops_no_client() -> None:
    pairs = {f"c{number}": f"w{number}" for number in range(100_000)}

    async def scenario() -> None:
        async with running({"c1": "w1"}) as served, served.connect("chargers/c1") as connection:
            began_s = time.thread_time()
            served.pair(pairs)
            assert time.thread_time() - began_s < 1.0
            await connection.send(SOC.decode())
            await served.bus.until(lambda: served.bus.socs("c1"))
            async with served.connect("widgets/w99999"):
                pass

    asyncio.run(scenario())


def test_a_widget_gets_its_status_and_every_change() -> None:
    async def scenario() -> None:
        async with running() as served:
            served.status("wABCD", Status.CHARGING)
            async with served.connect("widgets/wABCD") as widget:
                assert await next_status(widget) == "charging"
                for status in (Status.CHARGING, Status.CHARGING_80, Status.CHARGED, Status.CHARGED, Status.UNAVAILABLE):
                    served.status("wABCD", status)
                assert [await next_status(widget) for _ in range(3)] == ["charging80", "charged", "unavailable"]
            async with served.connect("widgets/wABCD") as again:
                assert await next_status(again) == "unavailable"
            served.status("wABCD", None)
            async with served.connect("widgets/wABCD") as again:
                served.status("wABCD", Status.CHARGING)
                assert await next_status(again) == "charging"

    asyncio.run(scenario())


def test_frames_for_widgets_are_exactly_the_documented_ones() -> None:
    async def scenario() -> None:
        async with running() as served, served.connect("widgets/wABCD") as widget:
            await served.bus.until(lambda: served.bus.linked("widgets/wABCD"))
            for status in ("charging", "charging80", "charged", "unavailable"):
                served.status("wABCD", Status(status))
                text = await asyncio.wait_for(widget.recv(), TIMEOUT_S)
                assert text == f'{{"event":"chargingStatus","data":{{"status":"{status}"}}}}'

    asyncio.run(scenario())


def test_rejected_messages_of_a_widget_keep_it_connected() -> None:
    async def scenario() -> None:
        async with running() as served, served.connect("widgets/wABCD") as widget:
            await widget.send("hello")
            await served.bus.until(served.bus.rejected)
            served.status("wABCD", Status.CHARGED)
            assert await next_status(widget) == "charged"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("widgets/wABCD/status", b'{"event":"chargingStatus","data":{"status":"full"}}'),
        ("widgets/wABCD/status", b"no JSON"),
        ("chargers/c1234/link", b"{}"),
        ("widgets/wABCD/link", b"[]"),
        ("charging/pairs", b'{"pairs":{"c":1}}'),
        ("charging/pairs", b""),
    ],
)
def test_messages_that_cannot_be_used_are_rejected(topic: str, payload: bytes) -> None:
    async def scenario() -> None:
        async with running() as served, served.connect() as connection:
            with pytest.raises(Rejected):
                served.adapter.on_message(Message(topic=topic, payload=payload), 0.0)
            await connection.send(SOC.decode())
            await served.bus.until(served.bus.socs)

    asyncio.run(scenario())


def test_a_cleared_link_is_ignored() -> None:
    async def scenario() -> None:
        async with running() as served, served.connect():
            await served.bus.until(served.bus.linked)
            for client in ("chargers/c1234", "widgets/wABCD"):
                served.hear(Publication(topic=f"{client}/link", payload=b""))
            assert served.adapter.on_tick(1.0) == []
            assert len(served.bus.published) == 1

    asyncio.run(scenario())


def test_stopping_closes_with_1001_and_publishes_links() -> None:
    async def scenario() -> None:
        async with running() as served:
            charger, widget = await served.connect(), await served.connect("widgets/wABCD")
            deaf, stranger = await served.opened("chargers/c1234"), await served.plain()
            assert (await closed(charger))[0] == 1008  # the deaf one has replaced it
            await until(lambda: len(served.adapter._servers[0]._connections) == 2)
            await served.stop()
            for client in ("chargers/c1234", "widgets/wABCD"):
                assert not served.bus.linked(client)
                assert served.bus.links(client)[-1].reason == "the adapter is being stopped"
            assert await closed(widget) == (1001, "the adapter is being stopped")
            assert (await deaf.rest()).startswith(b"\x88")
            assert await stranger.rest() == b""
            with pytest.raises(ConnectionRefusedError):
                await served.plain()
            for each in (deaf, stranger):
                await each.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("client", ["chargers/c1234", "widgets/wABCD"])
def test_links_of_an_earlier_start_are_corrected(monkeypatch: pytest.MonkeyPatch, client: str) -> None:
    monkeypatch.setattr(component, "STALE_S", 0.1)
    left = ClientLink(connected=True, adapter="charger-adapter", connection="earlier-5", address="10.0.0.1:1")

    async def scenario() -> None:
        async with running() as served:
            served.hear(Publication(topic=f"{client}/link", payload=msgspec.json.encode(left)))
            await served.bus.until(lambda: served.bus.links(client))
            (link,) = served.bus.links(client)
            assert (link.connected, link.connection, link.reason) == (False, "earlier-5", RESTARTED)

    asyncio.run(scenario())


def test_clients_back_in_time_stay_connected_on_the_bus() -> None:
    left = ClientLink(connected=True, adapter="charger-adapter", connection="earlier-5", address="10.0.0.1:1")

    async def scenario() -> None:
        async with running() as served:
            served.hear(CHARGER_LINK.publication(left, id="c1234"))
            async with served.connect():
                await served.bus.until(served.bus.linked)
                served.adapter._servers[0].clients.connections.correct_stale()
                assert [each.connected for each in served.bus.links()] == [True]

    asyncio.run(scenario())


async def connected_to(wanted: Running, served: Running, client: str) -> ClientConnection:
    """Connect until the system gives the connection to the wanted adapter; each connection takes over from the one before."""
    side = 0 if client.startswith("chargers") else 1
    links, name = wanted.adapter._servers[side].clients.connections, client.partition("/")[2]
    for _ in range(100):
        before = len(served.bus.links(client))
        connection = await served.connect(client)
        await served.bus.until(lambda: len(served.bus.links(client)) > before)  # noqa: B023
        if name in links:
            return connection
    raise AssertionError("the system gives everything to one of them")


def test_client_moves_between_two_adapters_on_one_port() -> None:
    async def scenario() -> None:
        async with running(name="one") as one, running(beside=one, name="two") as two:
            for here, there in ((one, two), (two, one)):
                old = await connected_to(here, one, "widgets/wABCD")
                new = await connected_to(there, one, "widgets/wABCD")
                assert (await closed(old))[0] == 1008
                await until(lambda: "wABCD" not in here.adapter._servers[1].clients.connections)  # noqa: B023
                for each in (one, two):
                    each.status("wABCD", Status.CHARGED)
                assert await next_status(new) == "charged"
                assert one.bus.links("widgets/wABCD")[-1].connected
                for each in (one, two):
                    each.status("wABCD", None)
                await new.close()
                await one.bus.until(lambda: not one.bus.linked("widgets/wABCD"))

    asyncio.run(scenario())


def test_a_takeover_closes_the_old_connection_without_a_link() -> None:
    async def scenario() -> None:
        async with running() as served, served.connect() as connection:
            await served.bus.until(served.bus.linked)
            await asyncio.sleep(0)
            served.hear(CHARGER_LINK.publication(ClientLink(True, "two", "boot-1", "10.0.0.1:1"), id="c1234"))
            assert await closed(connection) == (1008, ELSEWHERE)
            await until(lambda: not served.adapter._servers[0]._connections)
            assert len(served.bus.links()) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("taken", [0, 1])
def test_a_port_that_is_taken(taken: int) -> None:
    variables = ("SCAUP_CHARGER_PORT", "SCAUP_WIDGET_PORT")

    async def scenario() -> None:
        ports = free_ports(2)
        with socket.create_server(("127.0.0.1", ports[taken])):
            chargers, widgets = (
                Listening(("127.0.0.1",), port, variable, variable.split("_")[1].lower())
                for port, variable in zip(ports, variables, strict=True)
            )
            adapter = ChargerAdapter("adapter", "boot", chargers, widgets, 10, NUMBERS, IdTags(None))
            with pytest.raises(CannotStart, match=rf"port {ports[taken]} is taken .* {variables[taken]}"):
                await adapter.serve(FakeBus(), lambda _: None)
        with socket.create_server(("127.0.0.1", ports[1 - taken])):
            pass

    asyncio.run(scenario())


def test_it_can_be_stopped_while_it_waits_for_the_pairs() -> None:
    async def scenario() -> None:
        async with running(None) as served:
            await until(lambda: served.adapter._servers[1]._sockets.inside)
            waiting = await served.raw()
            await served.stop()
            assert await waiting.rest() == b""
            await waiting.close()
            served.adapter.on_message(Message(topic="charging/pairs", payload=b'{"pairs":{}}'), 0.0)

    asyncio.run(scenario())


def test_refused_clients_are_logged_periodically(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(component, "REPORT_S", 0.05)

    async def scenario() -> None:
        async with running() as served:
            for _ in range(3):
                with pytest.raises(InvalidStatus):
                    async with served.connect("chargers/c9"):
                        pass
            await until(lambda: "'c9' is not one of the chargers" in caplog.text)

    asyncio.run(scenario())
