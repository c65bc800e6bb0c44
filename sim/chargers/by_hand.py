"""What a charger and a widget by hand have in common: one websocket on a terminal, until Ctrl-C or until it is lost."""

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
from sim.chargers.endpoint import Endpoint, Role
from sim.chargers.link import OPEN_TIMEOUT_S, close_link, open_link
from sim.chargers.reasons import is_unknown, said_with, why_unreachable

F = TypeVar("F", bound=Callable[..., Any])


class Ended(click.ClickException):
    """The connection could not be made, or was lost. `fix` says what to do."""

    exit_code = 1

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the error and the fix to standard error."""
        click.echo(f"Error: {self.message}", file=file, err=True)
        click.echo(f"Fix: {self.fix}", file=file, err=True)


def connection_options(role: Role, example: str) -> Callable[[F], F]:
    """Add `--id`, `--host` and `--port`; the command gets them as `client`, `host` and `port`."""

    def needed(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str:
        if value is None or not value.strip():
            raise click.UsageError(f"which {role.name}? Give its id as it stands in the pairs, such as --id {example}")
        return value.strip()

    def decorated(command: F) -> F:
        port = click.option(
            "--port",
            type=click.IntRange(1, 65_535),
            help=f"Port of the charger adapter for {role.name}s; without it that of {role.port_variable}, {role.usual_port}.",
        )
        host = click.option("--host", help="Host of the charger adapter; without it that of SCAUP_SIM_CHARGER_HOST.")
        client = click.option("--id", "client", metavar="ID", callback=needed, help=f"Id of the {role.name}, needed.")
        return client(host(port(command)))

    return decorated


def endpoint(role: Role, host: str | None, port: int | None) -> Endpoint:
    """Return where to connect to, from the settings where it is not given.

    Raises:
        InvalidSetting: a setting cannot be used.
    """
    return Endpoint.of(Settings.load(), role, host, port)


def until_stopped(talk: Callable[[], Awaitable[None]]) -> None:
    """Run to the end, or until Ctrl-C or SIGTERM, which end it cleanly too.

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
        Ended: nobody answers, or the server refuses.
    """
    url = where.url(client)
    try:
        connection = await open_link(url)
    except (OSError, WebSocketException, ValueError) as error:
        reason = f"{why_unreachable(error, OPEN_TIMEOUT_S)}{said_with(error)}"
        raise Ended(f"{url}: {reason}", _fix(where.role, client, error)) from error
    try:
        hint(f"Connected to {url}.")
        yield connection
    finally:
        await close_link(connection)


def lost(reason: str) -> Ended:
    """Return the error for a connection that was lost."""
    return Ended(reason, "see why with `scaup logs`, and start this again")


def hint(text: str) -> None:
    """Say something beside the results: on standard error."""
    with suppress(OSError):
        click.echo(text, err=True)


def coloured() -> bool:
    """Tell whether standard output may have colours: a terminal that knows them, and no `NO_COLOR` (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def _fix(role: Role, client: str, error: Exception) -> str:
    if is_unknown(error):
        return f"the id is in no pair: add it to the file SCAUP_CHARGER_PAIRS, if {client!r} is a {role.name}"
    if isinstance(error, InvalidStatus):
        return "the server is there and takes nobody now: see `scaup status` and `scaup logs`"
    if isinstance(error, WebSocketException):
        return f"is that the port for {role.name}s? Choose it with --port or {role.port_variable}"
    return f"is the charger adapter running? `make up` starts it; --host and --port, or {role.port_variable}, say where it is"
