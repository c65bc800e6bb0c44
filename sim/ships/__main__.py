"""Start the simulated ships: `python -m sim.ships --ships 200`."""

import click

from broker.runtime.clock import PlantClock
from broker.runtime.runtime import run
from broker.runtime.settings import Settings
from sim.history import MOST_DEVICES, Queries, WithPast, history_days
from sim.ships.component import Fleet, SimulatedShips
from sim.ships.declaration import DECLARATION

RECORDED = "SELECT 1 AS found FROM messages WHERE topic LIKE 'energy/%/raw' LIMIT 1"
SETTLED = "SELECT 1 AS found FROM energy_interval HAVING count(DISTINCT ship) >= {ships}"


@click.command(context_settings={"show_default": True})
@click.option(
    "--ships", type=click.IntRange(1, 10_000), default=3, help="How many: hourly kWh, 5-minute kW, 15-minute kWh in turn."
)
@click.option("--seed", type=int, default=1, help="The ships, and what happens to their readings, differ by it.")
@click.option("--faults", type=click.FloatRange(0, 1), default=0.01, help="Share of readings with which something is wrong.")
@click.option("--days", type=click.IntRange(0, 366), default=0, help="Post so many days before the start too, at once.")
def main(ships: int, seed: int, faults: float, days: int) -> None:
    """Simulate ships until SIGTERM."""
    run(DECLARATION, lambda settings: _ships(settings, Fleet(ships, seed, faults, days)))


def _ships(settings: Settings, fleet: Fleet) -> WithPast:
    simulated = SimulatedShips(fleet, PlantClock(settings.time_scale, settings.plant_epoch).instant)
    queries = Queries(RECORDED, SETTLED.format(ships=min(fleet.ships, MOST_DEVICES)))
    return WithPast(simulated, DECLARATION.name, queries, 0 if fleet.days else history_days(settings))


if __name__ == "__main__":
    main()
