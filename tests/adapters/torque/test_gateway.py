import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from adapters.torque import gateway
from adapters.torque.configuration import TorqueDriver
from adapters.torque.link import STOPPED
from broker.errors import Rejected
from tests.adapters.torque.fakes import TIMEOUT_S, FakeBus, FakeDriver, RunningAdapter, driver, received, running
from tests.real_broker import free_ports

SET_12 = b'{ "type":"setTorque", "data":{"direction":"forward","value":12.10} }'
PADDED = b'{"type":"status","pad":"' + b"x" * 16_000_000 + b'"}'
"""More bytes than all buffers between two sockets hold."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "FIRST_BACKOFF_S", 0.01)
    monkeypatch.setattr(gateway, "LONGEST_BACKOFF_S", 0.02)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[FakeDriver, RunningAdapter, ServerConnection]]:
    async with driver() as fake, running(TorqueDriver("driver-1", fake.url)) as adapter:
        connection = await fake.connected()
        await adapter.bus.until(lambda: adapter.bus.errors() == [None])
        yield fake, adapter, connection


def test_links_report_only_failed_attempts_and_connections() -> None:
    async def scenario() -> None:
        async with connected() as (fake, adapter, _):
            assert adapter.working == [True]
            (link,) = adapter.bus.links()
            assert (link.connected, link.url, link.error) == (True, fake.url, None)
            (publication,) = adapter.bus.on("torque/driver-1/link")
            assert publication.retain

    asyncio.run(scenario())


def test_frames_are_published_verbatim_and_in_order() -> None:
    texts = [
        '{"type":"operation","data":{"direction":"forward","currentValue":19.513,"configuredValue":19}}',
        "",
        "no json",
        "µ",
    ]

    async def scenario() -> None:
        async with connected() as (_, adapter, connection):
            for text in texts:
                await connection.send(text)
            await connection.send(b"\x00\xff")
            await connection.send(b"")
            await connection.send(b"\xff not UTF-8", text=True)
            await connection.send(["in ", "two ", "pieces"])
            await adapter.bus.until(lambda: len(adapter.bus.events()) == 8)
            sent = [text.encode() for text in texts]
            assert adapter.bus.events() == [*sent, b"\x00\xff", b"", b"\xff not UTF-8", b"in two pieces"]
            assert all(type(each) is bytes for each in adapter.bus.events())
            assert all(not each.plant and each.qos == 1 and not each.retain for each in adapter.bus.on("torque/driver-1/event"))
            assert adapter.bus.errors() == [None]

    asyncio.run(scenario())


def test_many_frames_at_once_keep_their_order() -> None:
    async def scenario() -> None:
        async with connected() as (_, adapter, connection):
            for number in range(2000):
                await connection.send(str(number))
            await adapter.bus.until(lambda: len(adapter.bus.events()) == 2000)
            assert adapter.bus.events() == [str(number).encode() for number in range(2000)]

    asyncio.run(scenario())


def test_commands_arrive_byte_for_byte_as_text_and_in_order() -> None:
    async def scenario() -> None:
        async with connected() as (_, adapter, connection):
            adapter.command(SET_12)
            for number in range(50):
                adapter.command(b'{"type":"reset","n":%d}' % number)
            assert await received(connection) == SET_12.decode()
            assert [await received(connection) for _ in range(50)] == [f'{{"type":"reset","n":{n}}}' for n in range(50)]

    asyncio.run(scenario())


def test_event_carries_the_last_command_s_correlation_data() -> None:
    async def scenario() -> None:
        async with connected() as (_, adapter, connection):
            await connection.send("before")
            await adapter.bus.until(lambda: len(adapter.bus.events()) == 1)
            for correlation in (b"1", b"2", None):
                adapter.command(correlation=correlation)
                await received(connection)
                await connection.send("after")
                await connection.send("again")
                await adapter.bus.until(lambda: adapter.bus.correlations()[-2:] == [correlation, correlation])  # noqa: B023
            assert adapter.bus.correlations() == [None, b"1", b"1", b"2", b"2", None, None]

    asyncio.run(scenario())


def test_an_unwritten_command_does_not_change_the_correlation() -> None:
    async def scenario() -> None:
        async with connected() as (_, adapter, connection):
            adapter.command(correlation=b"written")
            await received(connection)
            connection.transport.pause_reading()
            adapter.command(PADDED, correlation=b"on its way")
            adapter.command(correlation=b"waits")
            await connection.send("meanwhile")
            await adapter.bus.until(lambda: len(adapter.bus.events()) == 1)
            connection.transport.resume_reading()
            assert len(await received(connection)) == len(PADDED)
            await received(connection)
            await connection.send("afterwards")
            await adapter.bus.until(lambda: len(adapter.bus.events()) == 2)
            assert adapter.bus.correlations() == [b"written", b"waits"]

    asyncio.run(scenario())


def test_reconnecting_keeps_the_correlation_data() -> None:
    async def scenario() -> None:
        async with connected() as (fake, adapter, connection):
            adapter.command(correlation=b"1")
            await received(connection)
            await fake.stop()
            await adapter.bus.until(lambda: adapter.bus.errors()[-1] == "connection refused")
            for _ in range(gateway.MOST_WAITING + 1):
                adapter.command(correlation=b"dropped")
            await fake.start()
            connection = await fake.connected()
            await connection.send("late")
            await adapter.bus.until(lambda: adapter.bus.events() == [b"late"])
            assert adapter.bus.correlations() == [b"1"]
            assert adapter.bus.errors() == [None, "closed by the driver (1001)", "connection refused", None]
            assert [each.connected for each in adapter.bus.links()] == [True, False, False, True]

    asyncio.run(scenario())


def test_commands_never_wait_for_a_connection() -> None:
    async def scenario() -> None:
        async with connected() as (fake, adapter, connection):
            connection.transport.pause_reading()
            adapter.command(PADDED)
            adapter.command(b'{"type":"reset","n":"unsent"}')
            await asyncio.sleep(0.05)  # for the writer to be in the middle
            connection.transport.abort()
            await adapter.bus.until(lambda: adapter.bus.errors()[:2] == [None, "connection lost"])
            if not adapter.bus.links()[-1].connected:
                adapter.command(b'{"type":"reset","n":"away"}')
            connection = await fake.connected()
            await adapter.bus.until(lambda: adapter.bus.links()[-1].connected)
            adapter.command(b'{"type":"reset","n":"now"}')
            assert await received(connection) == '{"type":"reset","n":"now"}'

    asyncio.run(scenario())


def test_an_unreachable_driver_is_reported_once() -> None:
    async def scenario() -> None:
        (port,) = free_ports(1)
        async with running(TorqueDriver("driver-1", f"ws://127.0.0.1:{port}")) as adapter:
            await adapter.bus.until(lambda: adapter.bus.links())
            adapter.command()
            await asyncio.sleep(0.1)  # several attempts
            assert adapter.working == [True]
            assert adapter.bus.errors() == ["connection refused"]

    asyncio.run(scenario())


def test_a_host_that_does_not_exist() -> None:
    async def scenario() -> None:
        async with running(TorqueDriver("driver-1", f"ws://{'x' * 70}.invalid:1")) as adapter:
            await adapter.bus.until(lambda: adapter.bus.links())
            assert str(adapter.bus.errors()[0]).startswith("cannot connect (")

    asyncio.run(scenario())


def test_a_refused_handshake() -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(HTTPStatus.NOT_FOUND, "no driver here\n")

    async def scenario() -> None:
        async with serve(lambda _: asyncio.sleep(0), "127.0.0.1", 0, process_request=refuse) as server:
            port = server.sockets[0].getsockname()[1]
            async with running(TorqueDriver("driver-1", f"ws://127.0.0.1:{port}")) as adapter:
                await adapter.bus.until(lambda: adapter.bus.errors() == ["handshake refused (HTTP 404)"])

    asyncio.run(scenario())


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "OPEN_TIMEOUT_S", 0.1)

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            async with running(TorqueDriver("driver-1", f"ws://127.0.0.1:{port}")) as adapter:
                await adapter.bus.until(lambda: adapter.bus.errors() == ["no answer within 0.1 s"])

    asyncio.run(scenario())


def test_a_server_that_speaks_another_protocol() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.0\r\n")
        writer.close()

    async def scenario() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with running(TorqueDriver("driver-1", f"ws://127.0.0.1:{port}")) as adapter:
                await adapter.bus.until(lambda: adapter.bus.links())
                assert str(adapter.bus.errors()[0]).startswith("handshake failed (")

    asyncio.run(scenario())


def test_a_too_large_frame_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "LARGEST_FRAME_BYTES", 1000)

    async def scenario() -> None:
        async with connected() as (fake, adapter, connection):
            await connection.send("x" * 1000)
            await connection.send("x" * 1001)
            connection = await fake.connected()
            await connection.send("again")
            await adapter.bus.until(lambda: len(adapter.bus.events()) == 2)
            assert adapter.bus.events() == [b"x" * 1000, b"again"]
            assert str(adapter.bus.errors()[1]).startswith("the driver sent a frame that is too large (1009")

    asyncio.run(scenario())


def test_a_dead_driver_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "PING_INTERVAL_S", 0.05)
    monkeypatch.setattr(gateway, "PING_TIMEOUT_S", 0.05)
    monkeypatch.setattr(gateway, "CLOSE_TIMEOUT_S", 0.05)

    async def scenario() -> None:
        async with connected() as (fake, adapter, connection):
            connection.transport.pause_reading()
            await adapter.bus.until(lambda: adapter.bus.errors()[:2] == [None, "the driver does not answer to pings"])
            await fake.connected()

    asyncio.run(scenario())


def test_a_dead_driver_is_noticed_within_ten_seconds() -> None:
    assert gateway.PING_INTERVAL_S + gateway.PING_TIMEOUT_S + gateway.CLOSE_TIMEOUT_S < 10


def test_a_driver_that_does_not_read_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "SEND_TIMEOUT_S", 0.1)

    async def scenario() -> None:
        async with connected() as (fake, adapter, connection):
            connection.transport.pause_reading()
            adapter.command(PADDED)
            await adapter.bus.until(lambda: adapter.bus.errors()[:2] == [None, "the driver did not read for 0.1 s"])
            connection = await fake.connected()
            await adapter.bus.until(lambda: adapter.bus.links()[-1].connected)
            adapter.command()
            assert await received(connection) == '{"type":"reset"}'

    asyncio.run(scenario())


def test_the_number_of_waiting_commands_is_limited() -> None:
    async def scenario() -> None:
        async with connected() as (_, adapter, connection):
            for _ in range(gateway.MOST_WAITING):
                adapter.command()
            with pytest.raises(Rejected, match="100 commands are waiting already: driver-1 does not read"):
                adapter.command()
            for _ in range(gateway.MOST_WAITING):
                await received(connection)

    asyncio.run(scenario())


def test_a_clean_stop_is_reported_to_both_sides() -> None:
    async def scenario() -> None:
        async with connected() as (_, adapter, connection):
            await adapter.stop()
            await asyncio.wait_for(connection.wait_closed(), TIMEOUT_S)
            assert connection.close_code == 1000
            assert adapter.bus.errors() == [None, STOPPED]
            adapter.command()  # dropped

    asyncio.run(scenario())


def test_a_stop_does_not_wait_for_a_driver_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "CLOSE_TIMEOUT_S", 0.05)

    async def scenario() -> None:
        async with connected() as (_, adapter, connection):
            connection.transport.pause_reading()
            adapter.command(PADDED)
            await asyncio.sleep(0.05)
            async with asyncio.timeout(1):
                await adapter.stop()
            assert adapter.bus.errors() == [None, STOPPED]

    asyncio.run(scenario())


def test_a_stop_while_connecting_is_clean() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            async with running(TorqueDriver("driver-1", f"ws://127.0.0.1:{silent.getsockname()[1]}")) as adapter:
                await asyncio.sleep(0.05)
            assert adapter.bus.errors() == [STOPPED]

    asyncio.run(scenario())


def test_a_stop_during_a_loss_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task group of Python 3.11 would swallow the cancellation."""

    async def scenario() -> None:
        async def lose(*_: object) -> str:
            await asyncio.sleep(0)
            task.cancel()
            return "lost"

        monkeypatch.setattr(gateway.Gateway, "_read", lose)
        async with driver() as fake:
            bus = FakeBus()
            task = asyncio.create_task(gateway.Gateway(TorqueDriver("driver-1", fake.url)).run(bus))
            done, _ = await asyncio.wait({task}, timeout=1)
            task.cancel()
            assert done
            assert bus.errors()[-1] in ("lost", STOPPED)

    asyncio.run(scenario())


@pytest.mark.parametrize("delay_s", [0.0, 0.001, 0.002, 0.003, 0.005, 0.01])
def test_a_stop_while_the_driver_stops_too_is_clean(delay_s: float) -> None:
    async def scenario() -> None:
        async with connected() as (fake, adapter, _):
            stopping = asyncio.create_task(fake.stop())
            await asyncio.sleep(delay_s)
            await adapter.stop()
            await stopping
            assert not adapter.bus.links()[-1].connected

    asyncio.run(scenario())


def test_events_sent_before_a_disconnection_are_published() -> None:
    async def scenario() -> None:
        async with connected() as (_, adapter, connection):
            for number in range(300):
                await connection.send(str(number))
            closing = asyncio.create_task(connection.close())
            await adapter.bus.until(lambda: adapter.bus.events())
            for _ in range(50):
                adapter.command()
            await adapter.bus.until(lambda: len(adapter.bus.links()) >= 2)
            assert adapter.bus.events() == [str(number).encode() for number in range(300)]
            await closing

    asyncio.run(scenario())


def test_an_error_in_the_writer_ends_the_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async def fail(*_: object) -> str:
            raise ZeroDivisionError

        monkeypatch.setattr(gateway.Gateway, "_write", fail)
        async with driver() as fake:
            running_gateway = gateway.Gateway(TorqueDriver("driver-1", fake.url)).run(FakeBus())
            with pytest.raises(ZeroDivisionError):
                await asyncio.wait_for(running_gateway, TIMEOUT_S)

    asyncio.run(scenario())


def test_passwords_are_used_and_not_published() -> None:
    async def scenario() -> None:
        async with driver() as fake, running(TorqueDriver("driver-1", f"ws://user:secret@127.0.0.1:{fake.port}")) as adapter:
            connection = await fake.connected()
            assert connection.request is not None
            assert connection.request.headers["Authorization"].startswith("Basic ")
            await adapter.bus.until(lambda: adapter.bus.links())
            assert adapter.bus.links()[0].url == fake.url

    asyncio.run(scenario())


def test_a_bad_redirect_is_reported_without_the_password() -> None:
    def redirect(connection: ServerConnection, request: Request) -> Response:
        response = connection.respond(HTTPStatus.FOUND, "")
        response.headers["Location"] = "/there#fragment"
        return response

    async def scenario() -> None:
        async with serve(lambda _: asyncio.sleep(0), "127.0.0.1", 0, process_request=redirect) as server:
            port = server.sockets[0].getsockname()[1]
            async with running(TorqueDriver("driver-1", f"ws://user:secret@127.0.0.1:{port}")) as adapter:
                await adapter.bus.until(lambda: adapter.bus.links())
                assert f"//127.0.0.1:{port}/there#fragment isn't a valid URI" in str(adapter.bus.errors()[0])

    asyncio.run(scenario())


def test_several_drivers_do_not_mix() -> None:
    async def scenario() -> None:
        async with driver() as one, driver() as two, running(TorqueDriver("a", one.url), TorqueDriver("b", two.url)) as adapter:
            of_a, of_b = await one.connected(), await two.connected()
            await adapter.bus.until(lambda: adapter.bus.links("a") and adapter.bus.links("b"))
            adapter.command(correlation=b"a", driver="a")
            assert await received(of_a) == '{"type":"reset"}'
            await of_a.send("from a")
            await of_b.send("from b")
            await adapter.bus.until(lambda: adapter.bus.events("a") and adapter.bus.events("b"))
            assert (adapter.bus.events("a"), adapter.bus.correlations("a")) == ([b"from a"], [b"a"])
            assert (adapter.bus.events("b"), adapter.bus.correlations("b")) == ([b"from b"], [None])
            await two.stop()
            await adapter.bus.until(lambda: len(adapter.bus.links("b")) >= 2)
            assert adapter.bus.errors("a") == [None]

    asyncio.run(scenario())


def test_proxy_variables_do_not_apply_to_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")

    async def scenario() -> None:
        async with connected():
            pass

    asyncio.run(scenario())


def test_frames_are_sent_without_delay() -> None:
    async def scenario() -> None:
        async with driver() as fake:
            connection = await gateway._open(fake.url)
            tcp = connection.transport.get_extra_info("socket")
            assert tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            await gateway._close(connection)

    asyncio.run(scenario())
