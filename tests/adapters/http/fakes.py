"""A fake bus, a caller of ASGI applications, and requests byte by byte over a socket."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp

from broker.errors import BrokerUnavailable
from broker.message import Publication

TIMEOUT_S = 30.0
JSON = {"content-type": "application/json"}


class FakeBus:
    """A bus whose broker can be unreachable (`there` is False) or frozen: then it times out."""

    def __init__(self) -> None:
        self.there, self.frozen = True, asyncio.Event()
        self.frozen.set()  # set: it answers
        self.delivered: list[Publication] = []
        self.published: list[Publication] = []
        self.pings = 0

    def freeze(self) -> None:
        self.frozen.clear()

    def thaw(self) -> None:
        self.frozen.set()

    def publish(self, publication: Publication) -> None:
        assert publication.topic == "storage/cancel", "everything else waits for the broker"
        self.published.append(publication)

    async def deliver(self, publication: Publication, timeout_s: float) -> None:
        await self._answer(timeout_s)
        self.delivered.append(publication)

    async def ping(self, timeout_s: float) -> None:
        self.pings += 1
        await self._answer(timeout_s)

    def now_s(self) -> float:
        return 0.0

    async def _answer(self, timeout_s: float) -> None:
        if not self.there:
            raise BrokerUnavailable("there is no connection to the broker")
        try:
            await asyncio.wait_for(self.frozen.wait(), timeout_s)
        except TimeoutError:
            raise BrokerUnavailable(f"the broker has not answered within {timeout_s:g} s") from None


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def error(self) -> str:
        """The text of an error; fails if the answer does not have the form of an error."""
        assert self.headers["content-type"] == "application/json"
        body = json.loads(self.body)
        assert list(body) == ["error"]
        assert body["error"]
        return str(body["error"])


async def call(
    app: ASGIApp,
    method: str,
    path: str,
    headers: dict[str, str] | None = None,
    body: bytes | Iterable[bytes] = b"",
    leaves_s: float = 3600,
) -> Answer:
    """Send one request to an ASGI application, without a server; the client disconnects after `leaves_s`."""
    path, _, query = path.partition("?")
    chunks = [body] if isinstance(body, bytes) else list(body)
    events: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": each, "more_body": True} for each in chunks]
    events.append({"type": "http.request", "body": b"", "more_body": False})
    answer = Answer(0)

    async def receive() -> MutableMapping[str, Any]:
        if not events:
            await asyncio.sleep(leaves_s)
            return {"type": "http.disconnect"}
        return events.pop(0)

    async def send(event: MutableMapping[str, Any]) -> None:
        if event["type"] == "http.response.start":
            answer.status = event["status"]
            answer.headers = {name.decode(): value.decode() for name, value in event["headers"]}
        else:
            answer.body += event["body"]

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "scheme": "http",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    async with asyncio.timeout(TIMEOUT_S):
        await app(scope, receive, send)
    return answer


@asynccontextmanager
async def running(work: Awaitable[None]) -> AsyncIterator["asyncio.Future[None]"]:
    """Run something in the background of a test; cancel it at the end."""
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        async with asyncio.timeout(TIMEOUT_S):
            with suppress(asyncio.CancelledError):
                await task


class Wire:
    """A connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def write(self, raw: bytes) -> None:
        self._writer.write(raw)

    def write_eof(self) -> None:
        self._writer.write_eof()

    async def answer(self, head: bool = False) -> Answer:
        """Return the next answer; `head`: it answers a HEAD, and has no body."""
        async with asyncio.timeout(TIMEOUT_S):
            lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines[1:-2])}
            body = b"" if head else await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(lines[0].split()[1]), headers, body)

    async def ended(self) -> bytes:
        """Wait for the end of the connection; return the bytes before it."""
        async with asyncio.timeout(TIMEOUT_S):
            with suppress(ConnectionResetError):
                return await self._reader.read()
        return b""

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


@asynccontextmanager
async def wire(port: int, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[Wire]:
    """Connect."""
    connected = Wire(*await asyncio.open_connection(host, port, ssl=tls))
    try:
        yield connected
    finally:
        await connected.close()


async def fetch(port: int, raw: bytes, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Answer:
    """Send these bytes on a new connection and return the answer."""
    async with wire(port, host, tls) as connected:
        connected.write(raw)
        return await connected.answer()


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """Return a request as bytes on the wire."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: localhost",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.005)
