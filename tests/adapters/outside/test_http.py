"""An HTTP server beyond this machine, on real sockets: TLS, logins, and clients that never log in."""

import asyncio
import gc
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from adapters.http import access
from adapters.http.access import require_topic
from adapters.http.app import application
from adapters.http.errors import JsonResponse
from adapters.http.openapi import document
from adapters.http.resource import Resource, read_body
from adapters.http.server import HttpServer, serve
from adapters.http.watch import BrokerWatch
from adapters.listening import Listening
from adapters.outside import acceptor
from adapters.outside.attempts import PAIR
from broker.contract.energy.topics import RAW
from broker.contract.roles import Role
from broker.launch import accounts, certificates
from broker.launch.accounts import Account
from tests.adapters.http.fakes import TIMEOUT_S, FakeBus, fetch, request, until, wire
from tests.adapters.outside.world import World
from tests.real_broker import free_ports


class Form:
    """The login of a page at `/`: the cookie is the name of the account, while it is the same."""

    def __init__(self, world: World) -> None:
        self._world = world

    def is_open(self, method: str, path: str) -> bool:
        return (method, path) == ("GET", "/")

    def is_own(self, path: str) -> bool:
        return path == "/"

    def account(self, connection: HTTPConnection) -> Account | None:
        return accounts.read_accounts(self._world.settings.data_dir).get(connection.cookies.get("session", ""))


class Served:
    """A running server; `/data?ship=…` is about a ship."""

    def __init__(self, world: World, plaintext: bool = False, form: Form | None = None) -> None:
        self.port, self.working = free_ports(1)[0], list[bool]()
        self.may_answer = asyncio.Event()
        listening = Listening((), self.port, "SCAUP_TEST_PORT", outside=world.outside(self.port, plaintext))
        watch = BrokerWatch()
        resources = [
            Resource("/data", GET=_ok, POST=_post),
            Resource("/slow", GET=self._slow),
            Resource("/", GET=_ok),
        ]
        app = application(
            resources,
            document("Test", "", {}, {}),
            watch,
            listening.access,
            authenticator=listening.authenticator,
            form=form,
        )
        self.task = asyncio.create_task(serve(HttpServer(app, listening), watch, FakeBus(), self.working.append))

    async def _slow(self, _request: Request) -> Response:
        await self.may_answer.wait()
        return JsonResponse({})


async def _ok(request: Request) -> Response:
    require_topic(request, RAW.template.topic(ship=request.query_params.get("ship", "ship-7")))
    return JsonResponse({})


async def _post(request: Request) -> Response:
    require_topic(request, RAW.template.topic(ship=request.query_params["ship"]))
    return JsonResponse({"bytes": len(await read_body(request, 1_000_000))}, 201)


@asynccontextmanager
async def served(world: World, plaintext: bool = False, form: Form | None = None) -> AsyncIterator[Served]:
    it = Served(world, plaintext, form)
    await until(lambda: it.working or it.task.done())
    try:
        yield it
    finally:
        it.task.cancel()
        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.wait({it.task})


@pytest.mark.parametrize(
    ("name", "method", "path", "status"),
    [
        ("vera", "GET", "/data", 200),
        ("vera", "POST", "/data?ship=ship-7", 403),
        ("ship-7", "POST", "/data?ship=ship-7", 201),
        ("ship-7", "POST", "/data?ship=ship-8", 403),
        ("ship-7", "GET", "/data", 403),
        ("ship-7", "GET", "/health", 200),
        ("ship-7", "GET", "/openapi.json", 200),
        ("otto", "GET", "/data", 200),
        ("otto", "POST", "/data?ship=ship-8", 201),
        ("ada", "POST", "/data?ship=ship-8", 201),
        ("ada", "HEAD", "/data", 200),
        ("vera", "OPTIONS", "/data", 204),
        ("vera", "GET", "/slow", 200),
        ("part", "GET", "/data?ship=ship-8", 403),
        ("part", "GET", "/slow", 403),
        ("vera", "POST", "/slow", 403),
        ("vera", "POST", "/sign-in", 404),
        ("part", "GET", "/data", 200),
        ("part", "GET", "/health", 200),
        ("ship-7", "POST", "/slow", 403),
    ],
)
def test_roles_decide_what_a_login_may(world: World, name: str, method: str, path: str, status: int) -> None:
    world.add({"part": Role.VIEWER}, ("energy/ship-7/#",))

    async def check() -> None:
        async with served(world) as it:
            it.may_answer.set()
            raw = request(method, path, Authorization=world.login(name))
            async with wire(it.port, tls=world.trust) as connected:
                connected.write(raw)
                assert (await connected.answer(head=method == "HEAD")).status == status

    asyncio.run(check())


def test_a_form_is_a_login_for_its_own_request_only(world: World) -> None:
    async def check() -> None:
        async with served(world, form=Form(world)) as it, wire(it.port, tls=world.trust) as connected:
            statuses = []
            for path, cookie in (
                ("/", ""),
                ("/data", ""),
                ("/data", "vera"),
                ("/data", ""),
                ("/data", "otto"),
                ("/data", "ship-7"),
            ):
                connected.write(request("GET", path, Cookie=f"session={cookie}"))
                statuses.append((await connected.answer()).status)
            assert statuses == [200, 401, 200, 401, 200, 403]
            world.remove("otto")
            connected.write(request("GET", "/data", Cookie="session=otto"))
            assert (await connected.answer()).status == 401

    asyncio.run(check())


def test_a_form_is_no_login_in_plain_text(world: World) -> None:
    async def check() -> None:
        async with served(world, plaintext=True, form=Form(world)) as it:
            for path in ("/", "/data"):
                answer = await fetch(it.port, request("GET", path, Cookie="session=otto"))
                assert (answer.status, "www-authenticate" in answer.headers) == (401, True)
            assert (await fetch(it.port, request("GET", "/", Authorization=world.login("otto")))).status == 200

    asyncio.run(check())


@pytest.mark.parametrize("path", ["/data", "/health", "/docs", "/openapi.json", "/nothing"])
def test_nothing_is_answered_without_a_login(world: World, path: str) -> None:
    async def check() -> None:
        async with served(world) as it:
            wrong = [request("GET", path, Authorization=each) for each in (world.login("vera", "wrong"), "Bearer x")]
            for raw in (request("GET", path), *wrong):
                answer = await fetch(it.port, raw, tls=world.trust)
                assert answer.status == 401
                assert answer.headers["www-authenticate"] == 'Basic realm="Scaup", charset="UTF-8"'
                assert answer.error

    asyncio.run(check())


def test_plain_text_gets_an_error_that_names_https(world: World) -> None:
    async def check() -> None:
        async with served(world) as it:
            answer = await fetch(it.port, request("GET", "/data", Authorization=world.login("vera")))
            assert answer.status == 400
            assert "https" in answer.error

    asyncio.run(check())


def test_plain_text_that_is_allowed_asks_for_a_login(world: World) -> None:
    async def check() -> None:
        async with served(world, plaintext=True) as it:
            assert (await fetch(it.port, request("GET", "/data"))).status == 401
            assert (await fetch(it.port, request("GET", "/data", Authorization=world.login("vera")))).status == 200

    asyncio.run(check())


def test_wrong_logins_are_limited_and_lock_only_the_guesser_out(world: World) -> None:
    async def check() -> None:
        async with served(world) as it, wire(it.port, tls=world.trust) as good, wire(it.port, tls=world.trust) as bad:
            good.write(request("GET", "/data", Authorization=world.login("vera")))
            assert (await good.answer()).status == 200
            found = []
            for number in range(100):
                bad.write(request("GET", "/data", Authorization=world.login("vera", f"guess-{number}")))
                found.append((await bad.answer()).status)
            assert found == [401] * PAIR.burst + [429] * (100 - PAIR.burst)
            bad.write(request("GET", "/data", Authorization=world.login("vera")))
            answer = await bad.answer()
            assert (answer.status, answer.headers["retry-after"]) == (429, "6")
            good.write(request("GET", "/data", Authorization=world.login("vera")))
            assert (await good.answer()).status == 200
            bad.write(request("GET", "/data", Authorization=world.login("otto")))
            assert (await bad.answer()).status == 200

    asyncio.run(check())


def test_a_removed_account_is_refused_on_open_connections(world: World) -> None:
    async def check() -> None:
        async with served(world) as it, wire(it.port, tls=world.trust) as connected:
            raw = request("GET", "/data", Authorization=world.login("vera"))
            connected.write(raw)
            assert (await connected.answer()).status == 200
            world.add({"other": Role.VIEWER})  # a change that concerns others
            connected.write(raw)
            assert (await connected.answer()).status == 200
            world.remove("vera")
            connected.write(raw)
            assert (await connected.answer()).status == 401

    asyncio.run(check())


def test_clients_with_another_authority_refuse_the_server(world: World) -> None:
    async def check() -> None:
        async with served(world) as it:
            with pytest.raises(ssl.SSLCertVerificationError):
                await fetch(it.port, request("GET", "/data"), tls=ssl.create_default_context())

    asyncio.run(check())


def test_a_renewed_certificate_serves_without_a_restart(world: World) -> None:
    async def serial(port: int) -> str:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=world.trust)
        found = writer.get_extra_info("peercert")["serialNumber"]
        writer.close()
        return str(found)

    async def check() -> None:
        async with served(world) as it:
            before = await serial(it.port)
            assert await serial(it.port) == before
            certificates.renew(world.settings)
            assert await serial(it.port) != before

    asyncio.run(check())


def test_a_thousand_idle_sockets_keep_no_one_out(world: World) -> None:
    async def check() -> None:
        async with served(world) as it, wire(it.port, tls=world.trust) as device:
            raw = request("GET", "/data", Authorization=world.login("vera"))
            device.write(raw)
            assert (await device.answer()).status == 200
            idle = [socket.create_connection(("127.0.0.1", it.port)) for _ in range(300)]
            for number in range(700):
                idle.append(socket.create_connection(("127.0.0.1", it.port)))
                if number % 2:
                    idle[-1].send(b"\x16\x03\x01")  # a handshake that never goes on
                await asyncio.sleep(0)
            started_s = time.monotonic()
            answer = await fetch(it.port, raw, tls=world.trust)
            assert (answer.status, time.monotonic() - started_s < 2) == (200, True)
            device.write(raw)
            assert (await device.answer()).status == 200
            for each in idle:
                each.close()

    asyncio.run(check())


def test_the_oldest_client_without_a_login_makes_room(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.http.server.MOST_UNAUTHENTICATED", 2)

    async def check() -> None:
        async with served(world) as it, wire(it.port) as oldest, wire(it.port) as older:
            await asyncio.sleep(0.05)
            raw = request("GET", "/data", Authorization=world.login("vera"))
            assert (await fetch(it.port, raw, tls=world.trust)).status == 200
            assert await asyncio.wait_for(oldest.ended(), 3) == b""
            older.write(raw)
            assert (await older.answer()).status == 400  # it was not dropped

    asyncio.run(check())


def test_a_stop_with_clients_that_leave_logs_no_warning(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        async with served(world) as it, wire(it.port) as idle:
            async with wire(it.port, tls=world.trust) as leaves:
                leaves.write(request("GET", "/slow", Authorization=world.login("vera")))
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.1)
            it.may_answer.set()
            it.task.cancel()
            assert await asyncio.wait_for(idle.ended(), 3) == b""

    asyncio.run(check())
    assert [each.getMessage() for each in caplog.records if each.levelname != "INFO"] == []


def test_clients_that_do_not_log_in_in_time_are_dropped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "LOGIN_WITHIN_S", 0.3)

    async def check() -> None:
        async with served(world) as it:
            async with wire(it.port) as idle, wire(it.port) as half, wire(it.port, tls=world.trust) as talks:
                half.write(b"\x16\x03\x01\x02")
                talks.write(request("GET", "/data"))
                assert (await talks.answer()).status == 401
                assert await idle.ended() == await half.ended() == await talks.ended() == b""
            async with wire(it.port, tls=world.trust) as device:
                device.write(request("GET", "/data", Authorization=world.login("vera")))
                assert (await device.answer()).status == 200
                await asyncio.sleep(0.5)
                device.write(request("GET", "/data", Authorization=world.login("vera")))
                assert (await device.answer()).status == 200

    asyncio.run(check())


def test_one_account_cannot_take_every_place(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MOST_REQUESTS", 2)

    async def check() -> None:
        async with served(world) as it:
            slow = request("GET", "/slow", Authorization=world.login("vera"))
            async with wire(it.port, tls=world.trust) as one, wire(it.port, tls=world.trust) as two:
                one.write(slow)
                two.write(slow)
                await asyncio.sleep(0.2)
                assert (await fetch(it.port, slow, tls=world.trust)).status == 429
                other = request("GET", "/data", Authorization=world.login("otto"))
                assert (await fetch(it.port, other, tls=world.trust)).status == 200
                it.may_answer.set()
                assert [(await each.answer()).status for each in (one, two)] == [200, 200]
            monkeypatch.setattr(access, "MOST_CONNECTIONS", 1)
            async with wire(it.port, tls=world.trust) as one:
                one.write(slow)
                assert (await one.answer()).status == 200
                assert (await fetch(it.port, slow, tls=world.trust)).status == 429

    asyncio.run(check())


def test_bytes_that_are_no_tls_do_no_harm(world: World) -> None:
    async def check() -> None:
        async with served(world) as it:
            for raw in (b"\x16" * 1_000, b"\x16\x03\x01\x00\x01\x00", b"\x00", b"\xff" * 100_000, b"\n"):
                async with wire(it.port) as connected:
                    connected.write(raw)
                    connected.write_eof()
                    await connected.ended()
            assert (
                await fetch(it.port, request("GET", "/data", Authorization=world.login("vera")), tls=world.trust)
            ).status == 200
        gc.collect()

    asyncio.run(check())
