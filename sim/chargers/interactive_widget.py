"""`scaup run sim-widget`: a widget whose LED is a line on the terminal."""

import sys
from datetime import UTC, datetime

import click
from websockets.exceptions import ConnectionClosed

from sim.chargers.connection import WIDGET, Endpoint, printable, why_lost
from sim.chargers.frames import status_of
from sim.chargers.interactive import coloured, connected, connection_options, endpoint, hint, lost, until_stopped

LED = {"charging": "red", "charging80": "yellow", "charged": "green"}
"""Colour of each status; a widget recognises no other."""
LIT, DARK = "●", "○"
_PLAIN = {LIT: "*", DARK: "o"}
"""For a terminal whose character set has no circles."""


@click.command(epilog="\b\nExample:\n  scaup run sim-widget --id wABCD")
@connection_options(WIDGET, "wABCD")
def main(client: str, host: str | None, port: int | None) -> None:
    """Be one widget: show its LED, a line for each change.

    Red while charging, yellow from 80 %, green when the battery is full; any other status is not recognised. Ctrl-C and SIGTERM
    disconnect, with exit code 0; the exit code is 1 where the server refuses or closes the connection.
    """
    where = endpoint(WIDGET, host, port)
    until_stopped(lambda: _show(where, client))


def led_line(status: str, colours: bool) -> str:
    """Return the line for the LED at a status: `● red     charging`."""
    colour = LED.get(status)
    if colour is None:
        return f"{_symbol(DARK)} not recognised  {printable(status, 40)}"
    lit = _symbol(LIT)
    return f"{click.style(lit, fg=colour) if colours else lit} {colour:<6}  {status}"


async def _show(where: Endpoint, client: str) -> None:
    async with connected(where, client) as connection:
        hint("Waiting for a status. Ctrl-C ends.")
        shown = None
        while True:
            try:
                frame = await connection.recv(decode=False)
            except ConnectionClosed as error:
                raise lost(why_lost(error)) from error
            status = status_of(frame)
            if status is None:
                hint(f"Ignored: not a chargingStatus: {frame[:60]!a}")
            elif status != shown:
                shown = status
                click.echo(f"{datetime.now(UTC):%H:%M:%SZ}  {led_line(status, coloured())}", color=coloured())


def _symbol(symbol: str) -> str:
    try:
        symbol.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return _PLAIN[symbol]
    return symbol
