"""A websocket whose client does not read: what waits for it is bounded, and it is disconnected."""

import asyncio
import base64
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import connect

from adapters.http import protocol, websocket_protocol
from adapters.http.app import application
from adapters.http.openapi import document
from adapters.http.server import HttpServer, serve
from adapters.http.watch import BrokerWatch
from adapters.listening import Listening
from tests.adapters.http.fakes import TIMEOUT_S, FakeBus, running, until
from tests.real_broker import free_ports

Endpoint = Callable[[WebSocket], Awaitable[None]]
MASKED_PING = bytes([0x89, 0x80 | 125]) + bytes(4) + b"p" * 125


async def silent(socket: WebSocket) -> None:
    await socket.accept()
    async for _ in socket.iter_text():
        pass


async def talkative(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_text(base64.b64encode(os.urandom(20_000)).decode())  # it does not shrink when compressed
    except WebSocketDisconnect:
        pass


async def unread(endpoint: Endpoint, flood: bytes) -> tuple[int, float]:
    """Return the most bytes that waited for a client that reads nothing, and after which time it was disconnected."""
    port, working, watch, most = free_ports(1)[0], list[bool](), BrokerWatch(), 0
    listening = Listening(("127.0.0.1",), port, "SCAUP_TEST_PORT")
    app = application([], document("Test", "", {}, {}), watch, listening.access, others=[WebSocketRoute("/live", endpoint)])
    server = HttpServer(app, listening, websockets=True)
    async with running(serve(server, watch, FakeBus(), working.append)):
        await until(lambda: working)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        key = base64.b64encode(bytes(16)).decode()
        head = f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        writer.write(f"{head}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        connections: set[Any] = server._uvicorn.server_state.connections
        began_s = time.monotonic()
        await until(lambda: any(isinstance(each, websocket_protocol.WebSocketProtocol) for each in connections))
        while connections and time.monotonic() - began_s < TIMEOUT_S:
            if writer.transport.get_write_buffer_size() < 1_000_000:
                writer.write(flood)
            await asyncio.sleep(0.002)
            most = max([most, *(each.transport.get_write_buffer_size() for each in connections)])
        took_s = time.monotonic() - began_s
        writer.transport.abort()
        del reader
    return most, took_s


@pytest.mark.parametrize(("endpoint", "flood"), [(silent, MASKED_PING * 1000), (talkative, b"")])
def test_a_client_that_reads_nothing_is_disconnected(monkeypatch: pytest.MonkeyPatch, endpoint: Endpoint, flood: bytes) -> None:
    monkeypatch.setattr(websocket_protocol, "UNREAD_S", 0.5)
    most, took_s = asyncio.run(unread(endpoint, flood))
    assert 0 < most < 1_000_000
    assert took_s < TIMEOUT_S


def test_an_open_websocket_has_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "REQUEST_TIMEOUT_S", 0.2)

    async def run() -> None:
        port, working, watch = free_ports(1)[0], list[bool](), BrokerWatch()
        listening = Listening(("127.0.0.1",), port, "SCAUP_TEST_PORT")
        app = application([], document("Test", "", {}, {}), watch, listening.access, others=[WebSocketRoute("/live", silent)])
        async with running(serve(HttpServer(app, listening, websockets=True), watch, FakeBus(), working.append)):
            await until(lambda: working)
            async with connect(f"ws://127.0.0.1:{port}/live") as socket:
                await asyncio.sleep(0.6)
                await asyncio.wait_for(await socket.ping(), TIMEOUT_S)

    asyncio.run(run())
