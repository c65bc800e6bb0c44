"""Declarations about edge nodes of Sparkplug and their devices: what a message of them means for each. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from adapters.devices.declared import Declared
from adapters.devices.mapping import Reading, typed
from adapters.devices.sparkplug.host import NAMESPACE, Edge, Host, Source, Topic, Update, edge_filter
from adapters.devices.times import MOST_AHEAD
from adapters.devices.values import ABSENT, Malformed
from broker.message import Publication
from broker.mqtt.topics import matches

MOST_ROUTES = 100_000
"""Nodes and devices for which the matching declarations are remembered."""


@dataclass(slots=True)
class Meaning:
    """What a message means. `readings` has a reading or None, where it has none, or the reason why it is malformed."""

    readings: list[tuple[Declared, Reading | Malformed | None]] = field(default_factory=list)
    links: list[tuple[Declared, bool]] = field(default_factory=list)
    commands: list[Publication] = field(default_factory=list)
    missed: str | None = None
    """Why it cannot be used until a rebirth."""


class Edges:
    """The declarations that `use` was given last, and the host that follows their edge nodes."""

    def __init__(self) -> None:
        self._declared: tuple[Declared, ...] = ()
        self._host = Host()
        self._routes: dict[Source, tuple[Declared, ...]] = {}

    def use(self, declared: Iterable[Declared]) -> None:
        """Replace the declarations."""
        self._declared = tuple(each for each in declared if each.source is not None and edge_filter(each.source))
        self._host.keep(
            lambda edge: any(matches(edge_filter(each.source or "") or "", _topic(edge)) for each in self._declared)
        )

    def take(self, topic: str, payload: bytes, now_at: datetime) -> Meaning:
        """Take a message of an edge node, in the order of arrival.

        Raises:
            Malformed: it is no Sparkplug payload.
        """
        parsed, meaning = Topic.of(topic), Meaning()
        if parsed is None:
            return meaning
        taken = self._host.take(parsed, payload, now_at)
        meaning.commands += taken.publications
        meaning.missed = taken.missed
        for link in taken.links:
            meaning.links += [(each, link.is_online) for each in self._about(link.source)]
        about = self._about(parsed.source)
        for update in taken.updates:
            meaning.readings += [(each, _reading(each, update, now_at)) for each in about]
        if not taken.updates:
            meaning.readings += [(each, None) for each in about]
        return meaning

    def tick(self, now_at: datetime) -> list[Publication]:
        """Return the requests to nodes that had to wait."""
        return self._host.tick(now_at)

    def _about(self, source: Source) -> tuple[Declared, ...]:
        found = self._routes.get(source)
        if found is None:
            topic = _topic(source[:2], source[2])
            found = tuple(each for each in self._declared if each.source is not None and matches(each.source, topic))
            if len(self._routes) >= MOST_ROUTES:
                self._routes.clear()
            self._routes[source] = found
        return found


def _topic(edge: Edge, device: str | None = None) -> str:
    """Return a topic of a node or device that its declarations select."""
    return "/".join([NAMESPACE, edge[0], "DATA", edge[1], *([] if device is None else [device])])


def _reading(declared: Declared, update: Update, now_at: datetime) -> Reading | Malformed | None:
    changed = [rule.path[0] for rule in declared.values.values() if rule.path and rule.path[0] in update.changed]
    if not changed:
        return None
    values = {}
    for name, rule in declared.values.items():
        try:
            value = rule.read(update.values)
            if value is not ABSENT:
                values[name] = typed(declared, name, value)
        except Malformed as error:
            if rule.path and rule.path[0] in update.changed:
                return error  # otherwise it was reported when it came
    at = max((update.times[each] for each in changed if each in update.times), default=update.payload_at)
    if at is not None and at > now_at + MOST_AHEAD:
        return Malformed(f"the time {at.isoformat()} is more than a day ahead")
    return Reading(values, at) if values else None
