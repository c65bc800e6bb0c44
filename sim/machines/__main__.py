"""Start the simulated machines: `python -m sim.machines --machines 1000`."""

import click

from broker.runtime.clock import PlantClock
from broker.runtime.runtime import run
from broker.runtime.settings import Settings
from sim.history import Queries, WithPast, history_days
from sim.machines.component import Hall, SimulatedMachines
from sim.machines.declaration import DECLARATION

RECORDED = Queries("SELECT 1 AS found FROM messages WHERE topic LIKE 'machines/%/reading' LIMIT 1")


@click.command(context_settings={"show_default": True})
@click.option("--machines", type=click.IntRange(1, 100_000), default=3, help="How many machines; 1 is always the same one.")
@click.option("--seed", type=int, default=1, help="The other machines, and what happens to all, differ by it.")
def main(machines: int, seed: int) -> None:
    """Simulate machines until SIGTERM."""
    run(DECLARATION, lambda settings: _machines(settings, Hall(machines, seed)))


def _machines(settings: Settings, hall: Hall) -> WithPast:
    simulated = SimulatedMachines(hall, PlantClock(settings.time_scale, settings.plant_epoch).instant)
    return WithPast(simulated, DECLARATION.name, RECORDED, history_days(settings))


if __name__ == "__main__":
    main()
