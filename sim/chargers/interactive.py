"""Parts of the interactive charger and widget: one connection on a terminal, which lasts until Ctrl-C or until it is lost."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import IO, Any, TypeVar

import click
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus, WebSocketException

from broker.runtime.settings import Settings
from sim.chargers.connection import (
    OPEN_TIMEOUT_S,
    Endpoint,
    Role,
    close_connection,
    is_unknown,
    open_connection,
    refusal_text,
    why_unreachable,
)

F = TypeVar("F", bound=Callable[..., Any])
_CHUNK = 4096


class Ended(click.ClickException):
    """The connection could not be made, or was lost; `fix` is the remedy."""

    exit_code = 1

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the error and the fix to standard error."""
        click.echo(f"Error: {self.message}", file=file, err=True)
        click.echo(f"Fix: {self.fix}", file=file, err=True)


def connection_options(role: Role, example: str) -> Callable[[F], F]:
    """Add `--id`, `--host` and `--port`, which the command receives as `client`, `host` and `port`."""

    def needed(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str:
        if value is None or not value.strip():
            raise click.UsageError(f"which {role.name}? Give its id from the pairs, such as --id {example}")
        return value.strip()

    def decorated(command: F) -> F:
        port = click.option(
            "--port",
            type=click.IntRange(1, 65_535),
            help=f"Port of the charger adapter for {role.name}s; default: {role.port_variable}, else {role.usual_port}.",
        )
        host = click.option("--host", help="Host of the charger adapter; default: SCAUP_SIM_CHARGER_HOST.")
        client = click.option("--id", "client", metavar="ID", callback=needed, help=f"Id of the {role.name}; required.")
        return client(host(port(command)))

    return decorated


def endpoint(role: Role, host: str | None, port: int | None) -> Endpoint:
    """Return the endpoint: `host` and `port`, and the settings for those that are None.

    Raises:
        InvalidSetting: a setting cannot be used.
    """
    return Endpoint.of(Settings.load(), role, host, port)


def until_stopped(talk: Callable[[], Awaitable[None]]) -> None:
    """Run until `talk` returns, or until Ctrl-C or SIGTERM, which end it cleanly too.

    Raises:
        Ended: the connection could not be made, or was lost.
    """
    asyncio.run(_until_stopped(talk))


async def _until_stopped(talk: Callable[[], Awaitable[None]]) -> None:
    loop = asyncio.get_running_loop()
    talking = asyncio.ensure_future(talk())
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, talking.cancel)
    with suppress(asyncio.CancelledError):
        await talking


@asynccontextmanager
async def connected(where: Endpoint, client: str) -> AsyncIterator[ClientConnection]:
    """Connect for the time of a `with` block, and close cleanly.

    Raises:
        Ended: the server does not answer, or refuses.
    """
    url = where.url(client)
    try:
        connection = await open_connection(url)
    except (OSError, WebSocketException, ValueError) as error:
        reason = f"{why_unreachable(error, OPEN_TIMEOUT_S)}{refusal_text(error)}"
        raise Ended(f"{url}: {reason}", _fix(where.role, client, error)) from error
    try:
        hint(f"Connected to {url}.")
        yield connection
    finally:
        await close_connection(connection)


def lost(reason: str) -> Ended:
    """Return the error for a connection that was lost."""
    return Ended(reason, "see why with `scaup logs`, and start this again")


def hint(text: str) -> None:
    """Print a text that is no result, on standard error."""
    with suppress(OSError):
        click.echo(text, err=True)


def coloured() -> bool:
    """Return whether standard output may have colours: a terminal that has them, and no `NO_COLOR` (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def _fix(role: Role, client: str, error: Exception) -> str:
    if is_unknown(error):
        return f"the id is in no pair: add it to the file SCAUP_CHARGER_PAIRS, if {client!r} is a {role.name}"
    if isinstance(error, InvalidStatus):
        return "the server runs but accepts no client now: see `scaup status` and `scaup logs`"
    if isinstance(error, WebSocketException):
        return f"is that the port for {role.name}s? Choose it with --port or {role.port_variable}"
    return f"is the charger adapter running? `make up` starts it; set its address with --host, --port or {role.port_variable}"


class Keyboard:
    """Lines of a terminal, a pipe or a file, read without blocking the websocket. Without a descriptor there are none."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._pending = b""

    async def line(self) -> str | None:
        """Return the next line without its end; None where there are no more."""
        while b"\n" not in self._pending:
            if not (chunk := await self._read()):
                rest, self._pending = self._pending, b""
                return rest.decode("utf-8", "replace") if rest else None
            self._pending += chunk
        line, self._pending = self._pending.split(b"\n", 1)
        return line.decode("utf-8", "replace")

    async def _read(self) -> bytes:
        if self._descriptor is None:
            return b""
        await _readable(self._descriptor)
        try:
            return os.read(self._descriptor, _CHUNK)
        except OSError:  # the terminal was closed
            return b""


def standard_input() -> Keyboard:
    """Return standard input, which may be closed."""
    try:
        return Keyboard(sys.stdin.fileno())
    except (AttributeError, OSError, ValueError):  # None, a stream without a descriptor, a closed one
        return Keyboard(None)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except OSError:  # a file is always readable
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
