"""What both runtimes do alike once the broker answers: the order in which components come up, and the report's rows."""

import time
from collections.abc import Callable, Mapping, Sequence

from adapters.client.declaration import OPERATOR
from adapters.launcher import health
from adapters.launcher.orphans import BROKER, RECORDER
from adapters.launcher.runtime import Row, broker_note
from broker.contract.components.topics import ComponentState
from broker.runtime.settings import Settings

RECORDER_LIMIT_S = 30.0
HEALTHY_LIMIT_S = 60.0
LAST_LINES = 15
"""How much of its log is shown of a program that does not come up."""


def wait_for_broker(settings: Settings, limit_s: float) -> dict[str, ComponentState]:
    """Wait until the broker answers, and return the states that it has retained.

    Raises:
        ClientError: it does not answer within `limit_s`, or refuses the login.
    """
    return health.wait_for_broker(settings.broker_address(OPERATOR.name), limit_s)


def start_components(
    settings: Settings,
    names: Sequence[str],
    before: Mapping[str, ComponentState],
    start: Callable[[list[str]], Sequence[str]],
) -> list[str]:
    """Start the recorder first, so that it hears everything, and then the others even if it does not come up.

    Args:
        settings: where the broker is.
        names: the components that shall run.
        before: their states before anything was started.
        start: starts those of the given components that do not run, and returns them.

    Returns:
        The components that are not online after a minute.
    """
    deadline_s = time.monotonic() + HEALTHY_LIMIT_S
    stale: dict[str, ComponentState] = {}
    missing: list[str] = []
    recorder = [name for name in names if name == RECORDER]
    others = [name for name in names if name != RECORDER]
    for wanted, limit_s in ((recorder, RECORDER_LIMIT_S), (others, HEALTHY_LIMIT_S)):
        stale |= {name: before[name] for name in start(wanted) if name in before}
        left_s = min(limit_s, deadline_s - time.monotonic())
        missing = health.wait_until_online(settings.broker_address(OPERATOR.name), [*missing, *wanted], stale, left_s)
    return missing


def rows(settings: Settings, where: Mapping[str, str], database: str) -> list[Row]:
    """Return the report's row of each program in `where`, a mapping from its name to the place where it runs."""
    found = health.states(settings.broker_address(OPERATOR.name))
    notes = {RECORDER: database, BROKER: broker_note(settings)}
    states = {BROKER: "online", **{name: state.state.value for name, state in found.items()}}
    return [
        Row(name=name, where=place, state=states.get(name, "unknown"), note=notes.get(name, ""))
        for name, place in where.items()
    ]
