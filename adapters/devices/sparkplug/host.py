"""The host's side of Sparkplug B: what edge nodes and their devices have said, and what was missed. Pure.

A birth names all metrics of a node or a device, and their aliases. Data has what changed, often by alias only. So data is used
only after the births of this run, and while no message of the node is missing: each one has the sequence number of the one
before, plus 1, modulo 256. Otherwise an alias could mean another metric by now, and the node is asked for a rebirth.

Source: Eclipse Sparkplug 3.0, chapter 4 (topics) and section 6.4 (payloads).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from adapters.devices.sparkplug.payload import BD_SEQ, Metric, MetricValue, Payload, instant, read_payload, rebirth_request
from adapters.devices.sparkplug.wire import Malformed
from broker.message import Publication

NAMESPACE = "spBv1.0"
REBIRTH_INTERVAL = timedelta(seconds=1)
"""At most one request for a rebirth in that time for each edge node."""
MOST_NODES = 10_000
_SEQUENCE = 256
_TYPES = {4: ("NBIRTH", "NDEATH", "NDATA"), 5: ("DBIRTH", "DDEATH", "DDATA")}

Edge = tuple[str, str]
"""Group and edge node."""
Source = tuple[str, str, str | None]
"""Group, edge node and device; None for the node itself."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of an edge node: its group, the type of its messages, and the device, None for those of the node itself."""

    group: str
    kind: str
    node: str
    device: str | None

    @classmethod
    def of(cls, topic: str) -> "Topic | None":
        """Return what a topic means; None for commands, states of hosts, and topics of others."""
        namespace, *levels = topic.split("/")
        if namespace != NAMESPACE or not 3 <= len(levels) <= 4 or levels[1] not in _TYPES[len(levels) + 1]:
            return None
        return cls(levels[0], levels[1], levels[2], levels[3] if len(levels) == 4 else None)

    @property
    def source(self) -> Source:
        """Return the device or node that it is about."""
        return self.group, self.node, self.device


def edge_filter(source: str) -> str | None:
    """Return the filter of all messages of the edge node that a declaration's `from` is about, None for other protocols.

    The births of a device are of use only with those of its node, and every message of the node has a sequence number.
    """
    namespace, *levels = source.split("/")
    if namespace != NAMESPACE or not 3 <= len(levels) <= 4:
        return None
    return f"{NAMESPACE}/{levels[0]}/+/{levels[2]}/#"


def command_topic(source: str) -> str | None:
    """Return the filter of the commands to that edge node, None for other protocols."""
    namespace, *levels = source.split("/")
    return f"{NAMESPACE}/{levels[0]}/NCMD/{levels[2]}" if namespace == NAMESPACE and len(levels) >= 3 else None


@dataclass(frozen=True, slots=True)
class Link:
    """A node or a device is connected, or not any more."""

    source: Source
    is_online: bool


@dataclass(frozen=True, slots=True)
class Update:
    """A birth or data: the last known values of all metrics of a node or device, and which of them this message has.

    Of historical values, there are only those of one time.
    """

    source: Source
    values: Mapping[str, MetricValue]
    changed: frozenset[str]
    times: Mapping[str, datetime]
    """Times of the changed metrics, where the message gives them."""
    payload_at: datetime | None


@dataclass(frozen=True, slots=True)
class Taken:
    """What a message changes, and what is to be published."""

    links: tuple[Link, ...] = ()
    updates: tuple[Update, ...] = ()
    publications: tuple[Publication, ...] = ()
    missed: str | None = None
    """Why the message cannot be used until a rebirth."""


@dataclass(slots=True)
class _Thing:
    """A node or a device since its birth."""

    types: dict[str, int | None] = field(default_factory=dict)
    values: dict[str, MetricValue] = field(default_factory=dict)


@dataclass(slots=True)
class _Node:
    is_born: bool = False
    """All messages since a birth of this run have been taken."""
    seq: int | None = None
    """Of the last message taken."""
    bd_seq: int | None = None
    things: dict[str | None, _Thing] = field(default_factory=dict)
    aliases: dict[int, tuple[str | None, str]] = field(default_factory=dict)
    asked_at: datetime | None = None
    must_ask: bool = False
    """A request for a rebirth waits, because one was sent less than a second ago."""


class Host:
    """Takes the messages of edge nodes, in the order of their arrival."""

    def __init__(self) -> None:
        self._nodes: dict[Edge, _Node] = {}

    def take(self, topic: Topic, payload: bytes, now_at: datetime) -> Taken:
        """Take a message that is not a retained one.

        Args:
            topic: its topic.
            payload: as received.
            now_at: wall time.

        Raises:
            Malformed: it is no Sparkplug payload, or there is no room for another node; the node is asked for a rebirth with
                its next message.
        """
        edge = topic.group, topic.node
        node = self._nodes.get(edge)
        if node is None:
            if len(self._nodes) >= MOST_NODES:
                raise Malformed(f"there are {MOST_NODES} edge nodes already")
            node = self._nodes[edge] = _Node()
        try:
            read = read_payload(payload)
            return self._taken(node, topic, read, now_at)
        except Malformed:
            if topic.kind != "NDEATH":
                node.is_born = False
            raise

    def tick(self, now_at: datetime) -> list[Publication]:
        """Return the requests that had to wait."""
        waiting = [(edge, node) for edge, node in self._nodes.items() if node.must_ask]
        return [each for (group, name), node in waiting for each in _request(node, group, name, now_at)]

    def keep(self, wanted: Callable[[Edge], bool]) -> None:
        """Forget all nodes but the wanted ones."""
        self._nodes = {edge: node for edge, node in self._nodes.items() if wanted(edge)}

    def _taken(self, node: _Node, topic: Topic, payload: Payload, now_at: datetime) -> Taken:
        if topic.kind == "NDEATH":
            return _death_of_node(node, topic, payload)
        if topic.kind == "NBIRTH":
            _begin(node, payload)
        elif not node.is_born:
            return _missed(node, topic, "its birth has not been received", now_at)
        elif payload.seq is not None and payload.seq == node.seq:
            return Taken()  # delivered twice
        elif payload.seq is None or node.seq is None or payload.seq != (node.seq + 1) % _SEQUENCE:
            return _missed(node, topic, f"sequence number {payload.seq} after {node.seq}", now_at)
        node.seq = payload.seq
        if topic.kind == "DDEATH":
            node.things.pop(topic.device, None)
            return Taken(links=(Link(topic.source, False),))
        if topic.kind in ("NBIRTH", "DBIRTH"):
            return _birth(node, topic, payload)
        return _data(node, topic, payload, now_at)


def _begin(node: _Node, payload: Payload) -> None:
    if payload.seq is None or not 0 <= payload.seq < _SEQUENCE:
        raise Malformed(f"a birth with the sequence number {payload.seq}")
    node.is_born, node.must_ask, node.bd_seq = True, False, _bd_seq(payload)
    node.things.clear()
    node.aliases.clear()


def _bd_seq(payload: Payload) -> int | None:
    metric = payload.metric(BD_SEQ)
    value = None if metric is None else metric.value(None)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _death_of_node(node: _Node, topic: Topic, payload: Payload) -> Taken:
    """A will of an earlier connection may arrive after the birth of the present one: only its `bdSeq` tells them apart."""
    if node.bd_seq is not None and _bd_seq(payload) != node.bd_seq:
        return Taken()
    devices = [device for device in node.things if device is not None]
    node.is_born, node.must_ask, node.seq = False, False, None
    node.things.clear()
    offline = [Link(topic.source, False), *(Link((topic.group, topic.node, device), False) for device in devices)]
    return Taken(links=tuple(offline))


def _birth(node: _Node, topic: Topic, payload: Payload) -> Taken:
    thing = node.things[topic.device] = _Thing()
    for alias in [alias for alias, (device, _) in node.aliases.items() if device == topic.device]:
        del node.aliases[alias]
    for metric in payload.metrics:
        if metric.name is None:
            raise Malformed("a metric without a name in a birth")
        thing.types[metric.name] = metric.datatype
        if metric.alias is not None:
            node.aliases[metric.alias] = topic.device, metric.name
    named = [(metric.name or "", metric) for metric in payload.metrics]
    return Taken(links=(Link(topic.source, True),), updates=_updates(thing, topic, payload, named))


def _data(node: _Node, topic: Topic, payload: Payload, now_at: datetime) -> Taken:
    thing = node.things.get(topic.device)
    if thing is None:
        return _missed(node, topic, f"the birth of {topic.device} has not been received", now_at)
    named = []
    for metric in payload.metrics:
        name = metric.name
        if name is None and metric.alias is not None:
            device, name = node.aliases.get(metric.alias, (None, None))
            if name is not None and device != topic.device:
                name = None
        if name is None or name not in thing.types:
            shown = metric.name if metric.name is not None else f"alias {metric.alias}"
            return _missed(node, topic, f"{shown} is in no birth", now_at)
        named.append((name, metric))
    return Taken(updates=_updates(thing, topic, payload, named))


def _updates(thing: _Thing, topic: Topic, payload: Payload, named: list[tuple[str, Metric]]) -> tuple[Update, ...]:
    """Return the update of present values; before it one for each time of historical values, which are not remembered."""
    earlier: dict[int | None, dict[str, MetricValue]] = {}
    present: dict[str, MetricValue] = {}
    times: dict[str, datetime] = {}
    for name, metric in named:
        value = metric.value(thing.types[name])
        if metric.is_historical:
            earlier.setdefault(metric.time_ms, {})[name] = value
            continue
        present[name] = value
        if (at := instant(metric.time_ms)) is not None:
            times[name] = at
    thing.values |= present
    payload_at = instant(payload.time_ms)
    updates = []
    for time_ms, values in sorted(earlier.items(), key=lambda each: each[0] or 0):
        at = instant(time_ms)
        historical = {} if at is None else dict.fromkeys(values, at)
        updates.append(Update(topic.source, values, frozenset(values), historical, payload_at))
    if present or not earlier:
        updates.append(Update(topic.source, dict(thing.values), frozenset(present), times, payload_at))
    return tuple(updates)


def _missed(node: _Node, topic: Topic, reason: str, now_at: datetime) -> Taken:
    """Use nothing more of a node until it is born again, and ask it for that."""
    node.is_born = False
    node.must_ask = True
    return Taken(publications=tuple(_request(node, topic.group, topic.node, now_at)), missed=reason)


def _request(node: _Node, group: str, name: str, now_at: datetime) -> list[Publication]:
    """Ask a node for a rebirth if it must be asked, and was not in the last second."""
    if not node.must_ask or (node.asked_at is not None and timedelta() <= now_at - node.asked_at < REBIRTH_INTERVAL):
        return []
    node.must_ask, node.asked_at = False, now_at
    return [Publication(topic=f"{NAMESPACE}/{group}/NCMD/{name}", payload=rebirth_request(now_at), qos=0)]
