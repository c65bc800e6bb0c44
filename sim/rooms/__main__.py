"""Start the simulated rooms: `python -m sim.rooms --rooms 50 --fault stuck --fault drift`."""

import click

from broker.runtime.runtime import run
from sim.rooms.component import Household, SimulatedRooms
from sim.rooms.declaration import DECLARATION
from sim.rooms.model import FIXED_ROOMS
from sim.rooms.sensors import SENSORS_PER_ROOM, Fault


@click.command(context_settings={"show_default": True})
@click.option(
    "--rooms",
    type=click.IntRange(1, 100_000),
    default=len(FIXED_ROOMS),
    help="How many rooms; the first three are always the same.",
)
@click.option("--seed", type=int, default=1, help="The other rooms, and the sensors of all, differ by it.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    type=click.Choice([each.value for each in Fault]),
    help="Fault of the first sensor of every room; repeat it for the second, third, …",
)
def main(rooms: int, seed: int, faults: tuple[str, ...]) -> None:
    """Simulate rooms until SIGTERM."""
    chosen = tuple(Fault(each) for each in faults[:SENSORS_PER_ROOM])
    household = Household(rooms=rooms, seed=seed, faults=chosen)
    run(DECLARATION, lambda settings: SimulatedRooms(household))


if __name__ == "__main__":
    main()
