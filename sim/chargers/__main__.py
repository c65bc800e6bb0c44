"""Start simulated chargers and widgets: `python -m sim.chargers --chargers 100 --fault garbage=0.1`."""

import resource
from dataclasses import replace

import click
import orjson

from broker.log import Log
from broker.runtime.clock import PlantClock
from broker.runtime.runtime import run
from broker.runtime.settings import Settings
from sim.chargers.component import Fleet, SimulatedChargers
from sim.chargers.connection import CHARGER, WIDGET, Endpoint
from sim.chargers.declaration import DECLARATION
from sim.chargers.frames import Fault
from sim.fault_option import fault_share
from sim.history import Queries, WithPast, history_days

log = Log(__name__)

FILES_EACH, OTHER_FILES = 2, 64
"""Open files: the websockets of a charger and of its widget, and all others of the process."""

RECORDED = Queries("SELECT 1 AS found FROM messages WHERE topic LIKE 'chargers/%/session' LIMIT 1")


@click.command(context_settings={"show_default": True})
@click.option("--chargers", type=click.IntRange(1, 20_000), default=5, help="How many chargers, each with a widget.")
@click.option("--seed", type=int, default=1, help="The booths differ by it.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    type=fault_share(Fault),
    metavar="NAME=SHARE",
    help=f"Share of frames with a fault; repeat it for several. NAME is one of {', '.join(Fault)}.",
)
@click.option("--print-pairs", is_flag=True, help="Print their pairs as JSON, for the file SCAUP_CHARGER_PAIRS, and exit.")
def main(chargers: int, seed: int, faults: tuple[tuple[Fault, float], ...], print_pairs: bool) -> None:
    """Simulate chargers and widgets until SIGTERM."""
    fleet = Fleet(chargers=chargers, seed=seed, faults=dict(faults))
    if print_pairs:
        click.echo(orjson.dumps(fleet.pairs(), option=orjson.OPT_INDENT_2))
    else:
        run(
            DECLARATION,
            lambda settings: WithPast(_chargers(settings, fleet), DECLARATION.name, RECORDED, history_days(settings)),
        )


def _chargers(settings: Settings, fleet: Fleet) -> SimulatedChargers:
    endpoints = Endpoint.of(settings, CHARGER), Endpoint.of(settings, WIDGET)
    at = PlantClock(settings.time_scale, settings.plant_epoch).instant
    return SimulatedChargers(replace(fleet, chargers=affordable(fleet.chargers)), endpoints, settings.time_scale, at=at)


def affordable(chargers: int) -> int:
    """Raise the limit of open files as far as needed and allowed; return how many of the chargers it is enough for.

    A reserve is kept, so that the connection to the broker can be restored.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_EACH * chargers + OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return chargers
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    enough = max(1, (allowed - OTHER_FILES) // FILES_EACH)
    if enough < chargers:
        log.warning(
            "connections-limited",
            "only %(open_files)d files may be open: %(room)d chargers instead of %(wanted)d; raise `ulimit -Hn`",
            open_files=allowed,
            room=enough,
            wanted=chargers,
        )
    return enough


if __name__ == "__main__":
    main()
