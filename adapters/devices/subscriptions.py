"""Which filters to subscribe to. Pure.

A broker delivers a message once for each subscription that selects it, so no two may overlap. Where one filter covers another,
only the wider is subscribed to; two that overlap otherwise are replaced by one that covers both.
"""

from collections.abc import Iterable, Mapping

from adapters.devices.declared import Declared
from broker.mqtt.options import Subscription
from broker.mqtt.topics import covers, overlaps
from broker.stream import AnyStream

AT_SUBSCRIBING, IF_NEW, NEVER = 0, 1, 2
"""When the broker delivers what it has retained (MQTT 5 section 3.8.3.1)."""


def plan(declared: Iterable[Declared], streams: Mapping[str, AnyStream]) -> dict[str, Subscription]:
    """Return the subscriptions for declarations, and for topics of the contract, by filter."""
    sources: dict[str, bool] = {}
    for each in declared:
        if each.selects is not None:
            sources[each.selects] = sources.get(each.selects, False) or each.retained
    found = {
        name: Subscription(filter=name, retain_handling=IF_NEW if retained else NEVER)
        for name, retained in _disjoint(sources).items()
    }
    return {**found, **{topic: Subscription(filter=topic, retain_handling=AT_SUBSCRIBING) for topic in streams}}


def _disjoint(sources: Mapping[str, bool]) -> dict[str, bool]:
    """Return filters that select the same topics and more, none of them twice; with each, whether retained ones are wanted."""
    exact = {each: retained for each, retained in sources.items() if "+" not in each and "#" not in each}
    wild: dict[str, bool] = {}
    for name, retained in sources.items():
        if name in exact:
            continue
        while (other := next((each for each in wild if overlaps(each, name)), None)) is not None:
            retained = wild.pop(other) or retained
            name = _join(name, other)
        wild[name] = retained
    for name, retained in exact.items():
        if (other := next((each for each in wild if covers(each, name)), None)) is not None:
            wild[other] = wild[other] or retained
        else:
            wild[name] = retained
    return wild


def _join(one: str, other: str) -> str:
    """Return a filter that covers two overlapping ones."""
    if covers(one, other):
        return one
    levels: list[str] = []
    for mine, theirs in zip(one.split("/"), other.split("/"), strict=False):
        if "#" in (mine, theirs):
            return "/".join([*levels, "#"])
        levels.append(mine if mine == theirs else "+")
    if len(one.split("/")) != len(other.split("/")):  # `a/#` selects `a` too
        return "/".join([*levels, "#"])
    return "/".join(levels)
