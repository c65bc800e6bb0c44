"""Start a charger adapter: `python -m adapters.chargers`, or `--number 2` beside the first one."""

import gc
import secrets
from datetime import UTC, datetime
from pathlib import Path

import click

from adapters.chargers.component import ChargerAdapter
from adapters.chargers.declaration import CHARGER_PORT, DECLARATION, MOST_PROCESSES, PROCESSES, TAGS, WIDGET_PORT
from adapters.chargers.limits import room_for_connections
from adapters.chargers.ocpp.numbers import TransactionNumbers
from adapters.chargers.ocpp.tags import IdTags
from adapters.listening import Listening, read_listening
from broker.runtime.declaration import Variable
from broker.runtime.runtime import run
from broker.runtime.settings import Settings, positive_int

GARBAGE_THRESHOLDS = (20_000, 20, 10)
"""With Python's defaults the garbage collector scans all objects for every few hundred new connections: with ten thousand of
them it took a third of the time of a connection storm, and stopped the loop for 0.4 s."""


@click.command(context_settings={"show_default": True})
@click.option(
    "--number",
    type=click.IntRange(1, MOST_PROCESSES),
    default=1,
    help=f"Which of several adapters this is. They share ports if {PROCESSES.name} is above 1; otherwise each needs its own.",
)
def main(number: int) -> None:
    """Carry messages between chargers, widgets and the bus until SIGTERM."""
    declaration = DECLARATION.numbered(number)
    run(declaration, lambda settings: _adapter(settings, declaration.name, number))


def _adapter(settings: Settings, name: str, number: int) -> ChargerAdapter:
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    room = room_for_connections() // 2
    chargers, widgets = (_listening(settings, each) for each in (CHARGER_PORT, WIDGET_PORT))
    numbers = TransactionNumbers(settings.data_dir / f"{name}.transactions", number - 1, datetime.now(UTC))
    tags = IdTags(Path(file) if (file := settings.value(TAGS)) else None)
    return ChargerAdapter(name, secrets.token_hex(4), chargers, widgets, room, numbers, tags)


def _listening(settings: Settings, port: Variable) -> Listening:
    shared = positive_int(PROCESSES.name, settings.value(PROCESSES), MOST_PROCESSES) > 1
    return read_listening(settings, port, "charger" if port is CHARGER_PORT else "widget", shared)


if __name__ == "__main__":
    main()
