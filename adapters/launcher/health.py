"""Waits until every component says that it is online, in a state that it published after it was started."""

import time
from collections.abc import Collection, Mapping
from contextlib import suppress

import click

from adapters.client.bus import Bus
from adapters.client.errors import ClientError
from adapters.client.paho_bus import connected
from broker.contract.components.topics import STATE, ComponentState, Presence
from broker.errors import Rejected
from broker.message import decode
from broker.mqtt.options import Address

LOOK_EVERY_S = 0.2


def states(address: Address) -> dict[str, ComponentState]:
    """Return the retained state of every component that the broker knows.

    Raises:
        Unreachable: there is no broker, or it does not answer.
        Refused: it does not accept the operator's login.
    """
    with connected(address) as bus:
        return _states(bus)


def not_online(wanted: Collection[str], found: Mapping[str, ComponentState], before: Mapping[str, ComponentState]) -> list[str]:
    """Return the components that are not online.

    `before` has the states from before a component was started: an `online` with that boot is what an earlier run left behind.
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
        except ClientError:  # also a login that is refused: the broker may just be reading new accounts
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
            while (missing := _announced(missing, _states(bus), before)) and time.monotonic() < deadline_s:
                time.sleep(LOOK_EVERY_S)
        if time.monotonic() > deadline_s:
            break
        time.sleep(LOOK_EVERY_S if missing else 0)
    return missing


def _states(bus: Bus) -> dict[str, ComponentState]:
    found = {}
    for topic, message in bus.retained(STATE.template.filter).items():
        levels = STATE.parse(topic)
        with suppress(Rejected):
            found[(levels or {}).get("component", "")] = decode(message.payload, ComponentState)
    return found


def _announced(wanted: list[str], found: Mapping[str, ComponentState], before: Mapping[str, ComponentState]) -> list[str]:
    left = not_online(wanted, found, before)
    for name in wanted:
        if name not in left:
            click.echo(f"  {name} is online", err=True)
    return left


def _online(state: ComponentState | None, before: ComponentState | None) -> bool:
    return state is not None and state.state is Presence.ONLINE and (before is None or state.boot != before.boot)
