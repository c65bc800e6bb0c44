"""Start the simulated pump: `python -m sim.pumps`."""

import click

from broker.runtime.runtime import run
from sim.pumps.component import SimulatedPump
from sim.pumps.declaration import DECLARATION


@click.command()
def main() -> None:
    """Simulate a pump until SIGTERM."""
    run(DECLARATION, lambda _settings: SimulatedPump())


if __name__ == "__main__":
    main()
