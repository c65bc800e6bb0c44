"""Bringing a system up: the order of its components, and waiting until each of them is online. Both runtimes share it."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

import click

from adapters.client.bus import Bus
from adapters.client.declaration import OPERATOR
from adapters.client.errors import ClientError
from adapters.client.paho_bus import connected
from adapters.client.requests import component_states
from adapters.launcher.orphans import RECORDER
from broker.contract.components.topics import STATE, ComponentState, Presence
from broker.mqtt.options import Address
from broker.runtime.settings import Settings

LOOK_EVERY_S = 0.2
RECORDER_LIMIT_S = 30.0
HEALTHY_LIMIT_S = 60.0
LAST_LINES = 15
"""Lines of its log that are shown for a program that does not come up."""


def start_components(
    settings: Settings,
    names: Sequence[str],
    before: Mapping[str, ComponentState],
    start: Callable[[list[str]], Sequence[str]],
) -> list[str]:
    """Start the recorder first, so that it records everything, and then the others even if it does not come up.

    Args:
        settings: where the broker is.
        names: the components to run.
        before: their states before anything was started.
        start: starts those of the given components that do not run, and returns them.

    Returns:
        The components that are not online after a minute.
    """
    deadline_s = time.monotonic() + HEALTHY_LIMIT_S
    stale: dict[str, ComponentState] = {}
    missing: list[str] = []
    address = settings.broker_address(OPERATOR.name)
    recorder = [name for name in names if name == RECORDER]
    others = [name for name in names if name != RECORDER]
    for wanted, limit_s in ((recorder, RECORDER_LIMIT_S), (others, HEALTHY_LIMIT_S)):
        stale |= {name: before[name] for name in start(wanted) if name in before}
        left_s = min(limit_s, deadline_s - time.monotonic())
        missing = wait_until_online(address, [*missing, *wanted], stale, left_s)
    return missing


def states(address: Address) -> dict[str, ComponentState]:
    """Return the retained states of components, by name.

    Raises:
        Unreachable: there is no broker, or it does not answer.
        Refused: it does not accept the login.
    """
    with connected(address) as bus:
        return _retained(bus)


def not_online(wanted: Collection[str], found: Mapping[str, ComponentState], before: Mapping[str, ComponentState]) -> list[str]:
    """Return the components that are not online.

    `before` has the states from before the components were started: an `online` with the same boot is of an earlier run.
    """
    return [name for name in wanted if not _online(found.get(name), before.get(name))]


def wait_for_broker(address: Address, limit_s: float) -> dict[str, ComponentState]:
    """Wait until the broker answers, and return the states that it has retained.

    Raises:
        ClientError: it does not answer within `limit_s`, or refuses the login.
    """
    deadline_s = time.monotonic() + limit_s
    while True:
        try:
            return states(address)
        except ClientError:  # also a refused login: the broker may be reading new accounts
            if time.monotonic() > deadline_s:
                raise
            time.sleep(LOOK_EVERY_S / 2)


def wait_until_online(
    address: Address, wanted: Collection[str], before: Mapping[str, ComponentState], limit_s: float
) -> list[str]:
    """Wait until all of `wanted` are online; return those that are not after `limit_s`."""
    deadline_s, missing = time.monotonic() + limit_s, list(wanted)
    while missing:
        with suppress(ClientError), connected(address) as bus:
            while (missing := _announce(missing, _retained(bus), before)) and time.monotonic() < deadline_s:
                time.sleep(LOOK_EVERY_S)
        if time.monotonic() > deadline_s:
            break
        time.sleep(LOOK_EVERY_S if missing else 0)
    return missing


def _retained(bus: Bus) -> dict[str, ComponentState]:
    return component_states(bus.retained(STATE.template.filter).values())


def _announce(wanted: list[str], found: Mapping[str, ComponentState], before: Mapping[str, ComponentState]) -> list[str]:
    left = not_online(wanted, found, before)
    for name in wanted:
        if name not in left:
            click.echo(f"  {name} is online", err=True)
    return left


def _online(state: ComponentState | None, before: ComponentState | None) -> bool:
    return state is not None and state.state is Presence.ONLINE and (before is None or state.boot != before.boot)
