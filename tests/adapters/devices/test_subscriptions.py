"""Subscriptions that do not overlap."""

import pytest

from adapters.devices.declarations import read_file
from adapters.devices.subscriptions import plan
from broker.mqtt.topics import matches, overlaps


def _plan(*filters: str, retained: str = "") -> dict[str, int]:
    text = "".join(
        f'[sensor.s{n}]\nfrom = "{each}"\nroom = "r"\nretained = {str(each == retained).lower()}\n'
        for n, each in enumerate(filters)
    )
    return {name: each.retain_handling for name, each in plan(read_file("f.toml", text), {}).items()}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (("a/b", "a/c"), {"a/b", "a/c"}),
        (("a/b", "a/+"), {"a/+"}),
        (("a/+/c", "a/b/+"), {"a/+/+"}),
        (("a/#", "a/b/c", "a"), {"a/#"}),
        (("a/+", "a/b/#"), {"a/+/#"}),
        (("a/+/x", "a/y/+", "a/+/z"), {"a/+/+"}),
    ],
)
def test_each_message_is_delivered_once(filters: tuple[str, ...], expected: set[str]) -> None:
    found = _plan(*filters)
    assert set(found) == expected
    assert not any(overlaps(one, other) for one in found for other in found if one != other)
    assert all(any(matches(each, name.replace("+", "l").replace("#", "l")) for each in found) for name in filters)


def test_retained_messages_come_where_they_are_wanted() -> None:
    assert _plan("a/b", "a/c", retained="a/b") == {"a/b": 1, "a/c": 2}
    assert _plan("a/b", "a/+", retained="a/b") == {"a/+": 1}
