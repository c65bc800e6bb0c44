"""Start simulated torque drivers: `python -m sim.torque_driver --fault silent=0.1 --fault duplicate=0.2`."""

import click

from broker.launch import mosquitto
from broker.launch.tls import reach
from broker.runtime.runtime import run
from broker.runtime.settings import Settings, port_number
from broker.runtime.web_access import WebAccess
from sim.fault_option import fault_share
from sim.torque_driver.component import SimulatedTorqueDrivers
from sim.torque_driver.declaration import DECLARATION, PORT
from sim.torque_driver.driver import Behaviour, Fault

EVERYWHERE = ("0.0.0.0",)  # noqa: S104 - inside a container, which publishes no port of it
SHARE = click.FloatRange(0, 1)


@click.command(context_settings={"show_default": True})
@click.option("--seed", type=int, default=1, help="The drivers differ by it.")
@click.option(
    "--delay", "delay_s", type=click.FloatRange(0, 3600), default=1.5, help="Wall seconds from a set to its operation, ±30 %."
)
@click.option("--out-of-range", type=SHARE, default=0.05, help="Share of operations that are 5 to 15 % off.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    type=fault_share(Fault),
    metavar="NAME=SHARE",
    help=f"Share of sets with a fault; repeat it for several. NAME is one of {', '.join(Fault)}.",
)
def main(seed: int, delay_s: float, out_of_range: float, faults: tuple[tuple[Fault, float], ...]) -> None:
    """Simulate torque drivers until SIGTERM."""
    behaviour = Behaviour(delay_s=delay_s, out_of_range=out_of_range, faults=dict(faults))
    run(DECLARATION, lambda settings: _drivers(settings, behaviour, seed))


def _drivers(settings: Settings, behaviour: Behaviour, seed: int) -> SimulatedTorqueDrivers:
    places = reach((), mosquitto.has_ipv6())  # SCAUP_BIND does not open it: it has no login
    addresses = EVERYWHERE if settings.in_container else places.loopback
    port = port_number(PORT.name, settings.value(PORT))
    return SimulatedTorqueDrivers(addresses, port, behaviour, WebAccess.load(settings, addresses), seed)


if __name__ == "__main__":
    main()
