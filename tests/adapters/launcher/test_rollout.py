"""Which components count as online after a start."""

import pytest

from adapters.launcher.rollout import not_online
from broker.contract.components.topics import ComponentState, Presence


def state(presence: Presence, boot: str) -> ComponentState:
    return ComponentState(state=presence, boot=boot, version="1")


OLD, NEW, GONE = state(Presence.ONLINE, "a"), state(Presence.ONLINE, "b"), state(Presence.OFFLINE, "b")


@pytest.mark.parametrize(
    ("found", "before", "online"),
    [
        ({"x": NEW}, {}, True),
        ({"x": NEW}, {"x": OLD}, True),
        ({"x": OLD}, {"x": OLD}, False),  # left behind by a run that was killed together with the broker
        ({"x": OLD}, {}, True),  # it ran already
        ({"x": GONE}, {"x": OLD}, False),
        ({}, {}, False),
    ],
)
def test_online_means_announced_by_this_boot(
    found: dict[str, ComponentState], before: dict[str, ComponentState], online: bool
) -> None:
    assert not_online(["x"], found, before) == ([] if online else ["x"])
