"""Start the simulated machines: `python -m sim.machines --machines 1000`."""

import click

from broker.runtime.clock import PlantClock
from broker.runtime.runtime import run
from sim.machines.component import Hall, SimulatedMachines
from sim.machines.declaration import DECLARATION


@click.command(context_settings={"show_default": True})
@click.option("--machines", type=click.IntRange(1, 100_000), default=3, help="How many machines; 1 is always the same one.")
@click.option("--seed", type=int, default=1, help="The other machines, and what happens to all, differ by it.")
def main(machines: int, seed: int) -> None:
    """Simulate machines until SIGTERM."""
    run(
        DECLARATION,
        lambda settings: SimulatedMachines(Hall(machines, seed), PlantClock(settings.time_scale, settings.plant_epoch).instant),
    )


if __name__ == "__main__":
    main()
