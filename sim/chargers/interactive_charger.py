"""`scaup run sim-charger`: a charger whose state of charge the user picks."""

import asyncio
import re
from datetime import UTC, datetime

import click
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from sim.chargers.connection import CHARGER, Endpoint, why_lost
from sim.chargers.frames import soc_frame
from sim.chargers.interactive import (
    Keyboard,
    connected,
    connection_options,
    endpoint,
    hint,
    lost,
    standard_input,
    until_stopped,
)

USUAL = (5, 10, 40, 80, 100)
MENU = f"""\
State of charge, %: {"  ".join(str(each) for each in USUAL)}
Type one of them, or any number from 0 to 100, and press Enter. q ends."""
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]+)?) ?%?")
_ENDS = ("q", "quit", "exit")


@click.command(
    epilog="\b\nExamples:\n  scaup run sim-charger --id c1234\n  printf '5\\n80\\n' | scaup run sim-charger --id c1234"
)
@connection_options(CHARGER, "c1234")
def main(client: str, host: str | None, port: int | None) -> None:
    """Be one charger: pick the state of charge to send.

    Pick 5, 10, 40, 80 or 100 %, or type any other percent; each is sent at once and confirmed with a line. The end of the
    input, q and Ctrl-C disconnect, with exit code 0; the exit code is 1 where the server refuses or closes the connection.
    """
    where, keyboard = endpoint(CHARGER, host, port), standard_input()
    until_stopped(lambda: _charge(where, client, keyboard))


def percent(line: str) -> float | None:
    """Return the typed state of charge, an int where it is whole; None where it is no number from 0 to 100."""
    found = _PERCENT.fullmatch(line.strip())
    if found is None or not 0 <= (soc_pct := float(found[1])) <= 100:
        return None
    return int(soc_pct) if soc_pct.is_integer() else soc_pct


async def _charge(where: Endpoint, client: str, keyboard: Keyboard) -> None:
    async with connected(where, client) as connection:
        hint(MENU)
        ending = asyncio.create_task(_until_closed(connection))
        typing = asyncio.create_task(_send_typed(connection, keyboard))
        try:
            await asyncio.wait({ending, typing}, return_when=asyncio.FIRST_COMPLETED)
            if typing.done() and typing.result():
                return
            raise lost(await ending)
        finally:
            ending.cancel()
            typing.cancel()


async def _send_typed(connection: ClientConnection, keyboard: Keyboard) -> bool:
    """Send what is typed; return True when the user ends it, False when the server does."""
    while (line := await keyboard.line()) is not None and line.strip().casefold() not in _ENDS:
        if not line.strip():
            continue
        soc_pct = percent(line)
        if soc_pct is None:
            hint(f"Not sent: {line.strip()[:40]!r} is not a number from 0 to 100.")
            continue
        try:
            await connection.send(soc_frame(soc_pct))
        except ConnectionClosed:
            return False
        click.echo(f"{datetime.now(UTC):%H:%M:%SZ}  sent {soc_pct} %")
    return True


async def _until_closed(connection: ClientConnection) -> str:
    """Read, though chargers receive nothing, until the connection ends; return why it ended."""
    while True:
        try:
            await connection.recv(decode=False)
        except ConnectionClosed as error:
            return why_lost(error)
