"""The server on real sockets: start, stop, and clients that violate HTTP."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.requests import Request
from starlette.responses import Response

from adapters.http import protocol, server
from adapters.http.app import application
from adapters.http.errors import JsonResponse
from adapters.http.openapi import document
from adapters.http.resource import Resource, read_body
from adapters.http.server import HttpServer, serve
from adapters.http.watch import BrokerWatch
from adapters.listening import Listening, listen
from broker.errors import CannotStart
from broker.launch import mosquitto
from broker.runtime.web_access import WebAccess
from tests.adapters.http.fakes import TIMEOUT_S, FakeBus, fetch, request, running, until, wire
from tests.real_broker import free_ports

LARGEST_BYTES = 1_000_000
LARGE_BYTES = 32_000_000
VARIABLE = "SCAUP_TEST_PORT"


class Slow:
    """A path that answers when the test allows it."""

    def __init__(self) -> None:
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def get(self, _request: Request) -> Response:
        self.asked.set()
        await self.may_answer.wait()
        return JsonResponse({"slow": True})


async def echo(request: Request) -> Response:
    return JsonResponse({"bytes": len(await read_body(request, LARGEST_BYTES))})


async def large(_request: Request) -> Response:
    return Response(b"x" * LARGE_BYTES)


async def bug(_request: Request) -> Response:
    raise ZeroDivisionError("secret")


class Served:
    """A running server."""

    def __init__(self, *addresses: str, port: int | None = None) -> None:
        self.port = port or free_ports(1)[0]
        self.slow, self.working, self.bus = Slow(), list[bool](), FakeBus()
        watch = BrokerWatch()
        resources = [Resource("/echo", POST=echo), Resource("/slow", GET=self.slow.get), Resource("/bug", GET=bug)]
        resources.append(Resource("/large", GET=large))
        app = application(resources, document("Test", "", {}, {}), watch, WebAccess())
        made = HttpServer(app, Listening(addresses or ("127.0.0.1",), self.port, VARIABLE))
        self.task = asyncio.create_task(serve(made, watch, self.bus, self.working.append))

    async def stop(self) -> None:
        self.task.cancel()
        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.wait({self.task})


@asynccontextmanager
async def served(*addresses: str, port: int | None = None) -> AsyncIterator[Served]:
    started = Served(*addresses, port=port)
    try:
        await until(lambda: started.working or started.task.done())
        yield started
    finally:
        await started.stop()


def test_server_answers_on_every_address() -> None:
    async def check() -> None:
        addresses = mosquitto.addresses(("127.0.0.2",), mosquitto.has_ipv6())
        async with served(*addresses) as it:
            assert it.working == [True]
            for each in addresses:
                assert (await fetch(it.port, request("GET", "/health"), each)).body == b'{"status":"ok"}'

    asyncio.run(check())


def test_server_listens_on_all_addresses_of_the_machine() -> None:
    async def check() -> None:
        ipv6 = mosquitto.has_ipv6()
        async with served(*mosquitto.addresses(("0.0.0.0", "::"), ipv6)) as it:
            for each in ("127.0.0.1", "127.0.0.3", *(["::1"] if ipv6 else [])):
                assert (await fetch(it.port, request("GET", "/health"), each)).status == 200

    asyncio.run(check())


def test_port_in_use_names_the_fix_and_leaves_nothing_open() -> None:
    async def check() -> None:
        async with served("127.0.0.2") as it:
            async with served("127.0.0.1", "127.0.0.2", port=it.port) as second:
                with pytest.raises(CannotStart) as caught:
                    second.task.result()
            text = f"HTTP port {it.port} is taken on 127.0.0.2: stop what listens there, or choose another port with {VARIABLE}"
            assert str(caught.value) == text
            assert second.working == []
            with pytest.raises(ConnectionRefusedError):
                await fetch(it.port, b"")

    asyncio.run(check())


def test_address_of_another_machine_names_the_setting() -> None:
    with pytest.raises(CannotStart, match=r"cannot be used on 192\.0\.2\.1 .*correct SCAUP_TEST_PORT or SCAUP_BIND"):
        listen(Listening(("192.0.2.1",), 5000, VARIABLE))


def test_server_restarts_at_once_on_the_same_port() -> None:
    async def check() -> None:
        async with served() as it, wire(it.port) as connected:
            connected.write(request("GET", "/docs"))
            await connected.answer()
            await it.stop()
            async with served(port=it.port) as again:
                assert (await fetch(again.port, request("GET", "/health"))).status == 200

    asyncio.run(check())


def test_stop_waits_for_running_requests_and_accepts_no_more() -> None:
    async def check() -> None:
        async with served() as it, wire(it.port) as busy, wire(it.port) as idle:
            busy.write(request("GET", "/slow"))
            await it.slow.asked.wait()
            it.task.cancel()
            assert await idle.ended() == b""
            with pytest.raises(ConnectionRefusedError):
                await fetch(it.port, b"")
            it.slow.may_answer.set()
            answered = await busy.answer()
            assert answered.body == b'{"slow":true}'
            assert await busy.ended() == b""
            await it.stop()

    asyncio.run(check())


def test_stop_answers_requests_that_take_too_long_with_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STOP_TIMEOUT_S", 0.2)

    async def check() -> None:
        async with served() as it, wire(it.port) as busy, wire(it.port) as half:
            busy.write(request("GET", "/slow"))
            half.write(b"POST /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\n1")
            await it.slow.asked.wait()
            it.task.cancel()
            answered = await busy.answer()
            assert (answered.status, answered.headers["retry-after"]) == (503, "2")
            assert answered.error == "this server is being stopped"
            await busy.ended()
            await half.ended()
            await it.stop()

    asyncio.run(check())


def test_signals_stay_with_the_runtime() -> None:
    import signal

    async def check() -> None:
        before = signal.getsignal(signal.SIGTERM)
        async with served():
            assert signal.getsignal(signal.SIGTERM) is before

    asyncio.run(check())


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HELLO\r\n\r\n",
        b"GET\r\n\r\n",
        b"BREW /coffee HTTP/1.1\r\n\r\n",
        b"GET /docs HTTP/9.9\r\n\r\n",
        b"GET /docs HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\n\r\n",
    ],
)
def test_invalid_http_is_400_in_json(garbage: bytes) -> None:
    async def check() -> None:
        async with served() as it, wire(it.port) as connected:
            connected.write(garbage)
            answered = await connected.answer()
            assert answered.status == 400
            assert answered.error == "this is no HTTP/1.1 request that could be read"
            assert answered.headers["connection"] == "close"
            assert await connected.ended() == b""
            assert (await fetch(it.port, request("GET", "/health"))).status == 200

    asyncio.run(check())


def test_pipelined_requests_are_answered_in_order() -> None:
    async def check() -> None:
        async with served() as it, wire(it.port) as connected:
            connected.write(request("GET", "/slow") + request("GET", "/nothing") + b"garbage\r\n\r\n" + request("GET", "/docs"))
            await it.slow.asked.wait()
            it.slow.may_answer.set()
            assert (await connected.answer()).body == b'{"slow":true}'
            assert (await connected.answer()).status == 404
            assert await connected.ended() == b""

    asyncio.run(check())


def test_keep_alive_serves_one_request_after_the_other() -> None:
    async def check() -> None:
        async with served() as it, wire(it.port) as connected:
            for _ in range(3):
                connected.write(request("POST", "/echo", b"123"))
                assert (await connected.answer()).body == b'{"bytes":3}'
            connected.write(b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
            assert (await connected.answer()).body == b'{"bytes":5}'
            connected.write(request("HEAD", "/docs"))
            answered = await connected.answer(head=True)
            assert (answered.status, answered.body) == (200, b"")
            connected.write(b"GET /health HTTP/1.0\r\n\r\n")
            assert (await connected.answer()).status == 200
            assert await connected.ended() == b""

    asyncio.run(check())


def test_answers_do_not_wait_for_tcp_acknowledgements() -> None:
    async def check() -> None:
        async with served() as it, wire(it.port) as connected:
            began_s = time.monotonic()
            for _ in range(100):
                connected.write(request("GET", "/docs"))
                await connected.answer()
            assert time.monotonic() - began_s < 3  # with Nagle's algorithm each takes 40 ms

    asyncio.run(check())


def test_half_closed_connection_gets_its_answer() -> None:
    async def check() -> None:
        async with served() as it, wire(it.port) as connected:
            connected.write(request("GET", "/slow"))
            connected.write_eof()
            await it.slow.asked.wait()
            it.slow.may_answer.set()
            assert (await connected.answer()).body == b'{"slow":true}'
            assert await connected.ended() == b""

    asyncio.run(check())


def test_upgrade_is_ignored() -> None:
    async def check() -> None:
        async with served() as it:
            raw = request("GET", "/health", Connection="Upgrade", Upgrade="websocket", Sec_WebSocket_Key="x")
            assert (await fetch(it.port, raw)).status == 200

    asyncio.run(check())


@pytest.mark.parametrize("cut", [0, 40, -1])
def test_upgrade_with_a_body_keeps_the_body(cut: int) -> None:
    h2c = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk"}  # curl --http2 -d
    chunked = request("POST", "/echo", b"", **h2c, Transfer_Encoding="chunked") + b"2\r\nab\r\n0\r\n\r\n"
    raw = request("POST", "/echo", request("GET", "/bug"), **h2c)

    async def check() -> None:
        async with served() as it, wire(it.port) as connected:
            connected.write(raw[:cut])
            await asyncio.sleep(0.05)
            connected.write(raw[cut:] + chunked + request("GET", "/health", b"", **h2c) + request("GET", "/nothing"))
            assert (await connected.answer()).body == b'{"bytes":%d}' % len(request("GET", "/bug"))
            assert (await connected.answer()).body == b'{"bytes":2}'
            assert (await connected.answer()).body == b'{"status":"ok"}'
            assert (await connected.answer()).status == 404

    asyncio.run(check())


@pytest.mark.parametrize("endless", [b"0\r\n" + b"X: y\r\n" * 20_000, b"0\r\nX: " + b"y" * 100_000, b"1;" + b"x" * 100_000])
def test_endless_trailers_and_chunk_extensions_are_431(endless: bytes) -> None:
    async def check() -> None:
        async with served() as it, wire(it.port) as connected:
            connected.write(b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + endless)
            assert (await connected.answer()).status == 431
            assert await connected.ended() == b""

    asyncio.run(check())


def test_small_chunks_and_trailers_are_accepted() -> None:
    head = b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"

    async def check() -> None:
        async with served() as it, wire(it.port) as connected:
            for _ in range(2):
                connected.write(head + b"1\r\nx\r\n" * 100_000 + b"0\r\nX: y\r\n\r\n")
                assert (await connected.answer()).body == b'{"bytes":100000}'

    asyncio.run(check())


def test_too_many_pipelined_requests_end_the_connection() -> None:
    async def check() -> None:
        async with served() as it, wire(it.port) as connected:
            connected.write(request("GET", "/slow") + request("GET", "/nothing") * 500)
            await it.slow.asked.wait()
            it.slow.may_answer.set()
            assert (await connected.answer()).status == 200
            for left in reversed(range(protocol.MAX_PIPELINED)):
                answered = await connected.answer()
                assert (answered.status, answered.headers.get("connection")) == (404, None if left else "close")
            assert await connected.ended() == b""

    asyncio.run(check())


@pytest.mark.parametrize("in_pieces", [False, True])
def test_too_large_head_is_431(in_pieces: bool) -> None:
    async def check() -> None:
        async with served() as it, wire(it.port) as connected:
            connected.write(b"GET /health HTTP/1.1\r\nX: " + b"x" * 20_000)
            if in_pieces:
                await asyncio.sleep(0.05)
            connected.write(b"x" * 20_000 + (b"" if in_pieces else b"\r\n\r\n"))
            answered = await connected.answer()
            assert (answered.status, answered.error) == (
                431,
                "request line and headers are too large: at most 32768 bytes are taken",
            )

    asyncio.run(check())


def test_client_that_writes_a_huge_body_first_gets_413() -> None:
    async def check() -> None:
        async with served() as it, wire(it.port) as connected:
            connected.write(request("POST", "/echo", b"x" * (LARGEST_BYTES * 4)))
            answered = await connected.answer()
            assert (answered.status, answered.error) == (413, f"the body is too large: at most {LARGEST_BYTES} bytes are taken")
            connected.write(request("POST", "/echo", b"x" * LARGEST_BYTES))
            assert (await connected.answer()).status == 200

    asyncio.run(check())


def test_client_that_writes_beyond_the_largest_body_gets_413() -> None:
    async def check() -> None:
        async with served() as it, wire(it.port) as connected:
            connected.write(request("POST", "/echo", b"x" * (33 * 1024 * 1024)))
            assert (await connected.answer()).status == 413
            connected.write(request("GET", "/health"))
            assert (await connected.answer()).status == 200

    asyncio.run(check())


def test_endless_body_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_DISCARDED_BYTES", 8 * 1024 * 1024)

    async def check() -> None:
        async with served() as it, wire(it.port) as connected:
            connected.write(b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(40):
                connected.write(b"80000\r\n" + b"x" * 0x80000 + b"\r\n")
            assert (await connected.answer()).status == 413
            await connected.ended()

    asyncio.run(check())


def test_too_large_announced_body_gets_no_100_continue() -> None:
    async def check() -> None:
        async with served() as it:
            raw = f"POST /echo HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {LARGEST_BYTES + 1}\r\n\r\n"
            assert (await fetch(it.port, raw.encode())).status == 413

    asyncio.run(check())


@pytest.mark.parametrize(
    "begun",
    [b"GET /hea", b"GET /health HTTP/1.1\r\nX: y\r\n", b"POST /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\n1234"],
)
def test_incomplete_request_is_408(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "REQUEST_TIMEOUT_S", 0.2)

    async def check() -> None:
        async with served() as it, wire(it.port) as connected:
            connected.write(begun)
            answered = await connected.answer()
            assert (answered.status, answered.error) == (408, "the request did not come within 10 s")
            assert await connected.ended() == b""

    asyncio.run(check())


def test_slow_bytes_do_not_extend_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "REQUEST_TIMEOUT_S", 0.2)

    async def check() -> None:
        async with served() as it, wire(it.port) as connected:
            connected.write(b"POST /echo HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")

            async def drip() -> None:
                while True:
                    connected.write(b"x")
                    await asyncio.sleep(0.05)

            async with running(drip()):
                assert (await connected.answer()).status == 408

    asyncio.run(check())


def test_silent_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "REQUEST_TIMEOUT_S", 0.2)

    async def check() -> None:
        async with served() as it, wire(it.port) as connected:
            assert await connected.ended() == b""

    asyncio.run(check())


@pytest.mark.parametrize("before", [b"", request("GET", "/health"), request("POST", "/echo", b"x" * (LARGEST_BYTES * 2))])
def test_line_ends_do_not_extend_the_deadline(before: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "REQUEST_TIMEOUT_S", 0.3)

    async def check() -> None:
        async with served() as it, wire(it.port) as connected:
            if before:
                connected.write(before)
                await connected.answer()

            async def drip() -> None:
                while True:
                    connected.write(b"\r\n")
                    await asyncio.sleep(0.05)

            async with running(drip()), asyncio.timeout(2):
                assert await connected.ended() == b""

    asyncio.run(check())


def test_client_that_reads_nothing_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "READ_TIMEOUT_S", 0.2)

    async def check() -> None:
        async with served() as it, wire(it.port) as greedy, wire(it.port) as patient:
            greedy.write(request("GET", "/large"))
            patient.write(request("GET", "/large"))
            assert len((await patient.answer()).body) == LARGE_BYTES
            await asyncio.sleep(0.5)
            assert len(await greedy.ended()) < LARGE_BYTES
            patient.write(request("GET", "/health"))
            assert (await patient.answer()).status == 200

    asyncio.run(check())


def test_late_answer_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "REQUEST_TIMEOUT_S", 0.1)

    async def check() -> None:
        async with served() as it, wire(it.port) as connected:
            connected.write(request("GET", "/slow"))
            await asyncio.sleep(0.3)
            it.slow.may_answer.set()
            assert (await connected.answer()).status == 200

    asyncio.run(check())


def test_too_many_connections_are_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_CONNECTIONS", 1)

    async def check() -> None:
        async with served() as it, wire(it.port) as first:
            first.write(request("GET", "/health"))
            assert (await first.answer()).status == 200
            async with wire(it.port) as second:
                answered = await second.answer()
                assert (answered.status, answered.headers["retry-after"]) == (503, "2")
            assert answered.error.endswith("connections are open already")
            first.write(request("GET", "/health"))
            assert (await first.answer()).status == 200

    asyncio.run(check())


def test_bug_is_500_in_json_with_a_logged_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        async with served() as it:
            answered = await fetch(it.port, request("GET", "/bug"))
            assert answered.status == 500
            assert "secret" not in answered.error
            assert (await fetch(it.port, request("GET", "/health"))).status == 200

    with caplog.at_level(logging.ERROR):
        asyncio.run(check())
    assert "ZeroDivisionError: secret" in caplog.text


def test_disconnected_client_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        async with served() as it:
            for raw in (b"POST /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\n1", request("GET", "/slow")):
                async with wire(it.port) as connected:
                    connected.write(raw)
                    await asyncio.sleep(0.05)
            it.slow.may_answer.set()
            assert (await fetch(it.port, request("GET", "/health"))).status == 200

    with caplog.at_level(logging.WARNING):
        asyncio.run(check())
    assert caplog.text == ""
