"""The server with real sockets."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest
from websockets.exceptions import InvalidStatus

from adapters.chargers import component, keepalive, limits, server, websocket
from adapters.chargers.clients import UNPAIRED
from broker.contract.charging.topics import Status
from tests.adapters.chargers.fakes import PAIR, Raw, Running, closed, next_status, running, until
from tests.adapters.chargers.wire import CLOSE, CONT, HEAD, PING, SOC, TEXT, close, frame, head, soc

MANY = {f"c{number}": f"w{number}" for number in range(20)}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(component, "SWEEP_S", 0.01)


def unfinished(served: Running) -> int:
    return served.adapter._servers[0].unfinished_bytes


def connections(served: Running) -> int:
    return sum(len(each._connections) for each in served.adapter._servers)


def test_a_message_sent_with_the_handshake_is_received() -> None:
    async def scenario() -> None:
        async with running() as served:
            raw = await served.raw(more=frame(TEXT, SOC) + frame(TEXT, soc(71)))
            await served.bus.until(lambda: len(served.bus.socs()) == 2)
            assert served.bus.socs() == [SOC, soc(71)]
            assert [each.topic for each in served.bus.published] == ["chargers/c1234/link", *["chargers/c1234/soc"] * 2]
            assert b" 101 " in await raw.head()
            await raw.close()

    asyncio.run(scenario())


def test_open_send_and_close_in_one_instant() -> None:
    async def scenario() -> None:
        async with running() as served:
            raw = await served.raw(more=frame(TEXT, SOC) + close(1000))
            await served.bus.until(lambda: len(served.bus.published) == 3)
            topics = [each.topic.removeprefix("chargers/c1234/") for each in served.bus.published]
            assert topics == ["link", "soc", "link"]
            assert [each.connected for each in served.bus.links()] == [True, False]
            assert (await raw.rest()).endswith(b"\x88\x02\x03\xe8")
            await raw.close()

    asyncio.run(scenario())


def test_links_report_connections_and_reasons() -> None:
    async def scenario() -> None:
        async with running() as served:
            async with served.connect() as connection:
                await served.bus.until(served.bus.linked)
                host, port = connection.local_address[:2]
                assert served.bus.links()[0].address == f"{host}:{port}"
            await served.bus.until(lambda: not served.bus.linked())
            raw = await served.opened()
            raw.writer.transport.abort()
            await served.bus.until(lambda: len(served.bus.links()) == 4)
            first, ended, _, aborted = served.bus.links()
            assert (first.adapter, first.connection) == ("charger-adapter", "boot-of-charger-adapter-1")
            assert (ended.connection, ended.reason) == (first.connection, "closed by the client")
            assert (aborted.reason or "").startswith(("connection lost (", "closed by the client"))

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("path", "port", "status", "text"),
    [
        ("/chargers/c9999", 0, 404, "'c9999' is not one of the chargers"),
        ("/chargers/wABCD", 0, 404, "is not one of the chargers"),
        ("/widgets/wABCD", 0, 404, "the path on this port is /chargers/ID: is it the wrong port?"),
        ("/chargers/c1234", 1, 404, "the path on this port is /widgets/ID: is it the wrong port?"),
        ("/widgets/c1234", 1, 404, "is not one of the widgets"),
        ("/", 0, 404, "the path on this port is"),
        ("/chargers/c1234/x", 0, 404, "the path on this port is"),
    ],
)
def test_refused_before_a_websocket_exists(path: str, port: int, status: int, text: str) -> None:
    async def scenario() -> None:
        async with running() as served:
            raw = await served.plain("widgets/" if port else "chargers/")
            raw.write(head(path) + frame(TEXT, SOC))
            answer = await raw.rest()
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert text in answer.decode()
            await raw.close()
            with pytest.raises(InvalidStatus) as refused:
                async with served.connect("widgets/no" if port else "chargers/no"):
                    pass
            assert refused.value.response.status_code == 404
            assert served.bus.published == []

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["chargers/c1234", "widgets/wABCD"])
def test_web_page_of_a_foreign_site_is_refused(path: str) -> None:
    async def scenario() -> None:
        async with running() as served:
            with pytest.raises(InvalidStatus) as refused:
                async with served.connect(path, origin="https://evil.example"):
                    pass
            assert refused.value.response.status_code == 403
            assert b"SCAUP_CORS_ORIGINS" in refused.value.response.body
            assert served.bus.published == []

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["chargers/c1234", "widgets/wABCD"])
def test_client_with_a_subprotocol_gets_the_first_one(path: str) -> None:
    async def scenario() -> None:
        async with running() as served, served.connect(path, subprotocols=["status.v1", "chat"]) as connection:
            assert connection.subprotocol == "status.v1"

    asyncio.run(scenario())


def test_a_second_connection_of_the_same_id_takes_over() -> None:
    async def scenario() -> None:
        async with running() as served, served.connect() as old:
            await served.bus.until(served.bus.linked)
            async with served.connect() as new:
                assert await closed(old) == (1008, "replaced by a newer connection of the same id")
                await new.send(SOC.decode())
                await served.bus.until(served.bus.socs)
                await until(lambda: connections(served) == 1)
                assert [each.connected for each in served.bus.links()] == [True, True]

    asyncio.run(scenario())


def test_messages_of_a_replaced_connection_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CLOSE_TIMEOUT_S", 0.2)

    async def scenario() -> None:
        async with running() as served:
            old = await served.opened()
            async with served.connect() as new:
                old.write(frame(TEXT, soc(1)))
                assert (await old.rest())[:4] == b"\x88\x2f\x03\xf0"  # it does not answer, and is closed all the same
                await new.send(SOC.decode())
                await served.bus.until(served.bus.socs)
                assert served.bus.socs() == [SOC]
            await old.close()

    asyncio.run(scenario())


def test_a_client_that_ignores_pings_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keepalive, "SILENT_S", 0.2)
    monkeypatch.setattr(keepalive, "ANSWER_S", 0.4)

    async def scenario() -> None:
        async with running({**PAIR, **MANY}) as served, served.connect("chargers/c1") as answers:
            dead = await served.opened()
            await served.bus.until(lambda: [each.reason for each in served.bus.links()] == [None, "does not answer to pings"])
            assert await dead.rest() == frame(PING, mask=None)
            await answers.send(SOC.decode())
            await served.bus.until(lambda: served.bus.socs("c1"))
            assert served.bus.linked("chargers/c1")
            await dead.close()

    asyncio.run(scenario())


def test_a_client_that_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FRAMES_PER_S", 1e9)

    async def scenario() -> None:
        async with running({**PAIR, **MANY}) as served, served.connect("widgets/w1") as other:
            raw = await served.raw(receive_buffer=4_096)
            raw.power_loss()
            await served.bus.until(served.bus.linked)
            pings = frame(PING, b"x" * 125) * 500
            async with asyncio.timeout(20):
                while served.bus.linked():
                    raw.write(pings)
                    await asyncio.sleep(0.001)
            assert served.bus.links()[-1].reason == "does not read what it is sent"
            served.status("w1", Status.CHARGING)
            assert await next_status(other) == "charging"
            raw.writer.transport.abort()

    asyncio.run(scenario())


def test_a_slow_handshake_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with running() as served:
            async with served.connect() as good:
                monkeypatch.setattr(keepalive, "HANDSHAKE_S", 0.3)
                slow, silent = await served.plain(), await served.plain()
                ended = asyncio.create_task(slow.rest())
                for byte in HEAD[:-1]:
                    if ended.done() or slow.writer.transport.is_closing():
                        break
                    slow.write(bytes([byte]))
                    await asyncio.sleep(0.01)
                assert await ended == b""
                assert await silent.rest() == b""
                await good.send(SOC.decode())
                await served.bus.until(served.bus.socs)
                assert connections(served) == 1
            await slow.close()
            await silent.close()

    asyncio.run(scenario())


def test_clients_get_503_while_the_server_is_full() -> None:
    async def scenario() -> None:
        async with running(MANY, room=2) as served:
            first, _ = await served.opened("chargers/c1"), await served.opened("chargers/c2")
            third = await served.raw("chargers/c3")
            answer = await third.rest()
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert answer.endswith(b"\r\n\r\nthis server is full now: connect again later\n")
            async with served.connect("widgets/w1"):  # on its own port there is room
                pass
            await first.close()
            await until(lambda: len(served.adapter._servers[0]._connections) == 1)
            async with served.connect("chargers/c3") as again:
                await again.send(SOC.decode())
                await served.bus.until(lambda: served.bus.socs("c3"))
            assert served.adapter._servers[0].take_refused()[0] == 1
            await third.close()
            await _.close()

    asyncio.run(scenario())


def test_unfinished_handshakes_take_no_room() -> None:
    async def scenario() -> None:
        async with running(MANY, room=2) as served:
            unfinished = [await served.plain() for _ in range(server.SPARE_CONNECTIONS + 5)]
            for each in unfinished:
                each.write(b"G")
            async with served.connect("chargers/c1") as first, served.connect("chargers/c2"):
                await first.send(SOC.decode())
                await served.bus.until(lambda: served.bus.socs("c1"))
            for each in unfinished:
                await each.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("pieces", [1, 7])
def test_a_message_of_2_mb_is_rejected_whole(pieces: int) -> None:
    async def scenario() -> None:
        async with running() as served, served.connect() as connection:
            text = '{"event":"' + "x" * 2_000_000
            step = len(text) // pieces + 1
            await connection.send(text if pieces == 1 else [text[start : start + step] for start in range(0, len(text), step)])
            await connection.send(SOC.decode())
            await served.bus.until(served.bus.socs)
            (rejected,) = served.bus.rejected()
            assert rejected.topic == "chargers/c1234/soc"
            assert rejected.payload == text
            assert rejected.reason == f"a frame of {len(text)} bytes: 65536 are accepted"
            assert served.bus.linked()
            assert unfinished(served) == 0

    asyncio.run(scenario())


def test_rejected_messages_keep_the_connection_open() -> None:
    async def scenario() -> None:
        async with running() as served, served.connect() as connection:
            for each in ("", "no JSON", '{"event":"StateOfCharge","data":{"soc":"70"}}', soc("NaN").decode(), soc(-1).decode()):
                await connection.send(each)
            await connection.send(SOC)
            await connection.send(b"\xff", text=True)
            await connection.send(SOC.decode())
            await served.bus.until(served.bus.socs)
            assert len(served.bus.rejected()) == 7
            assert served.bus.socs() == [SOC]
            assert served.bus.links()[-1].connected

    asyncio.run(scenario())


def test_a_too_large_message_is_rejected_and_closed_with_1009(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with running() as served:
            raw = await served.opened()
            raw.write(b"\x81\xff" + (websocket.LARGEST_MESSAGE_BYTES + 1).to_bytes(8, "big"))
            assert (await raw.rest())[:1] + b"\x03\xf1" == bytes([0x80 | CLOSE]) + (1009).to_bytes(2, "big")
            await served.bus.until(lambda: not served.bus.linked())
            (rejected,) = served.bus.rejected()
            assert str(websocket.LARGEST_MESSAGE_BYTES + 1) in rejected.reason
            assert served.bus.links()[-1].reason == rejected.reason
            await raw.close()

    asyncio.run(scenario())


def test_memory_for_incomplete_messages_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    most, usual, large = 400_000, 50_000, 300_000
    monkeypatch.setattr(server, "MOST_UNFINISHED_BYTES", most)
    monkeypatch.setattr(server, "USUAL_UNFINISHED_BYTES", usual)
    peak, check_size = 0, server.ServerConnection._check_size

    def checking(connection: server.ServerConnection) -> None:
        nonlocal peak
        check_size(connection)
        peak = max(peak, sum(each._websocket.unfinished_bytes for each in connection._server._connections))

    monkeypatch.setattr(server.ServerConnection, "_check_size", checking)

    async def scenario() -> None:
        async with running(MANY) as served, served.connect("chargers/c0") as good:
            clients = [await served.opened(f"chargers/c{number}") for number in range(1, 13)]
            part = frame(CONT, b"x" * 10_000, fin=False)
            for each in clients:
                each.write(frame(TEXT, b"", fin=False))
            for _ in range(large // 10_000):
                for each in clients:
                    each.write(part)
                await asyncio.sleep(0)
            await served.bus.until(lambda: len(served.bus.rejected()) >= 10)
            assert all("no room for a message of more than" in each.reason for each in served.bus.rejected())
            await good.send(SOC.decode())
            await served.bus.until(lambda: served.bus.socs("c0"))
            for each in clients:
                each.writer.transport.abort()
            await until(lambda: connections(served) == 1)
            assert unfinished(served) == 0

    asyncio.run(scenario())
    assert most / 2 < peak < most + 12 * 2 * server.READ_BYTES


def test_a_flood_is_slowed_down_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FRAMES_PER_S", 4_000.0)
    monkeypatch.setattr(limits, "BURST_FRAMES", 100.0)
    flood = [soc(number / 100) for number in range(3_000)]

    async def scenario() -> None:
        async with running({**PAIR, **MANY}) as served, served.connect("chargers/c1") as other:
            raw, began_s = await served.opened(), time.monotonic()
            raw.write(b"".join(frame(TEXT, each) for each in flood))
            await served.bus.until(lambda: served.bus.socs())
            await other.send(SOC.decode())
            await served.bus.until(lambda: served.bus.socs("c1"))
            assert len(served.bus.socs()) < len(flood), "it is served meanwhile"
            await served.bus.until(lambda: len(served.bus.socs()) == len(flood))
            assert served.bus.socs() == flood
            assert time.monotonic() - began_s > 0.4
            assert served.bus.linked()
            await raw.close()

    asyncio.run(scenario())


def test_a_client_that_is_not_read_from_is_not_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in (
        *((limits, "FRAMES_PER_S", 1_000.0), (limits, "BURST_FRAMES", 10.0)),
        *((keepalive, "SILENT_S", 0.3), (keepalive, "ANSWER_S", 0.6)),
    ):
        monkeypatch.setattr(module, name, value)

    async def scenario() -> None:
        async with running() as served, served.connect() as connection:
            for number in range(1_000):
                await connection.send(soc(number / 10).decode())
            await served.bus.until(lambda: len(served.bus.socs()) == 1_000)
            assert len(served.bus.links()) == 1

    asyncio.run(scenario())


def test_a_client_removed_from_the_pairs_is_closed() -> None:
    async def scenario() -> None:
        async with running() as served, served.connect() as charger, served.connect("widgets/wABCD") as widget:
            served.pair({"c1": "w1"})
            assert await closed(charger) == (1008, UNPAIRED)
            assert await closed(widget) == (1008, UNPAIRED)
            for client in ("chargers/c1234", "widgets/wABCD"):
                await served.bus.until(lambda: not served.bus.linked(client))  # noqa: B023
            await until(lambda: connections(served) == 0)
            assert [each.reason for each in served.bus.links()] == [None, UNPAIRED]
            async with served.connect("chargers/c1"):
                pass

    asyncio.run(scenario())


def test_a_half_closed_connection_is_closed() -> None:
    async def scenario() -> None:
        async with running() as served:
            raw = await served.raw(more=frame(TEXT, SOC))
            raw.writer.write_eof()
            await served.bus.until(lambda: len(served.bus.links()) == 2)
            assert served.bus.socs() == [SOC]
            assert b" 101 " in await raw.rest()
            await raw.close()

    asyncio.run(scenario())


def test_many_clients_at_once() -> None:
    pairs = {f"c{number}": f"w{number}" for number in range(100)}

    async def scenario() -> None:
        async with running(pairs) as served, AsyncExitStack() as stack:
            chargers: list[Raw] = await asyncio.gather(
                *(served.raw(f"chargers/{each}", more=frame(TEXT, SOC)) for each in pairs)
            )
            widgets = await asyncio.gather(
                *(stack.enter_async_context(served.connect(f"widgets/{each}")) for each in pairs.values())
            )
            for each in pairs.values():
                served.status(each, Status.CHARGING_80)
            assert [await next_status(each) for each in widgets] == ["charging80"] * 100
            for each in pairs:
                await served.bus.until(lambda: served.bus.socs(each) == [SOC])  # noqa: B023
            await asyncio.gather(*(each.close() for each in chargers))

    asyncio.run(scenario())
