"""Declarations tried on recorded messages, and what of it is not mapped yet. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from adapters.devices.declared import Declared
from adapters.devices.mapper import Counts, Mapper
from adapters.devices.mapping import Document, read
from broker.message import Publication


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded message; `number` is its place in the recording."""

    number: int
    received_at: datetime
    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """A reading that a declaration makes of a recorded message. A table has no publication."""

    declared: Declared
    recorded: Recorded
    event_at: datetime
    """The device's time, else that of the recording."""
    timed: bool
    """It is the device's time."""
    publication: Publication | None
    value: Any
    """What is published, or the columns of a table."""


@dataclass(frozen=True, slots=True)
class Own:
    """A recorded publication of the component for declared devices, live or of `apply`."""

    number: int
    event_at: datetime | None
    topic: str
    payload: bytes


class Trial:
    """Maps recorded messages by declarations, each for itself, from nothing known before."""

    def __init__(self, declared: Iterable[Declared]) -> None:
        self._mappers: list[tuple[Declared, Mapper]] = []
        for each in declared:
            if each.source is not None:
                mapper = Mapper()
                mapper.use([each])
                self._mappers.append((each, mapper))

    def take(self, recorded: Recorded) -> Iterator[Result]:
        """Return what a message becomes; take the messages in the order of their numbers."""
        at = recorded.received_at
        for declared, mapper in self._mappers:
            if not mapper.route(recorded.topic):
                continue
            before = mapper.counts[declared.id].mapped
            taken = mapper.take(recorded.topic, recorded.payload, False, at, at)
            for each in taken.publications:
                event_at = each.plant_at or at
                yield Result(declared, recorded, event_at, event_at != at, each, _shown(declared, each))
            if declared.kind == "table" and mapper.counts[declared.id].mapped > before:
                reading = read(declared, Document.of(recorded.payload), at)
                if reading is not None:
                    event_at = reading.device_at or at
                    yield Result(declared, recorded, event_at, reading.device_at is not None, None, dict(reading.values))

    @property
    def counts(self) -> dict[str, Counts]:
        """The counts of each declaration."""
        return {declared.id: mapper.counts[declared.id] for declared, mapper in self._mappers}


def not_mapped(results: Sequence[Result], own: Iterable[Own]) -> list[Result]:
    """Return the results that no recorded publication stands for.

    A publication with the very time of a result stands for it: the device's time, or that of the recording, which `apply` uses.
    What was mapped live without a device time has the time of its arrival at the component. It follows the message that it was
    made of, in the order of the recording; of several messages with the same content before it, the latest that has none.
    """
    known = list(own)
    exact = Counter((each.topic, each.payload, each.event_at) for each in known)
    found: list[Result] = []
    for result in results:
        if result.publication is None:
            continue
        key = (result.publication.topic, result.publication.payload, result.event_at)
        if exact[key]:
            exact[key] -= 1
        else:
            found.append(result)
    later: dict[tuple[str, bytes], list[Own]] = defaultdict(list)
    for each in known:  # those that are left
        key = (each.topic, each.payload, each.event_at)  # type: ignore[assignment]
        if exact[key]:
            exact[key] -= 1
            later[each.topic, _content(each.topic, each.payload)].append(each)
    return _unmatched(found, later)


def _unmatched(results: list[Result], later: dict[tuple[str, bytes], list[Own]]) -> list[Result]:
    open_results: dict[tuple[str, bytes], list[Result]] = defaultdict(list)
    for result in results:
        if result.publication is not None and not result.timed:
            topic = result.publication.topic
            open_results[topic, _content(topic, result.publication.payload)].append(result)
    matched: set[int] = set()
    for key, waiting in open_results.items():
        events: list[tuple[int, Result | Own]] = [(each.recorded.number, each) for each in waiting]
        events += [(each.number, each) for each in later.get(key, ())]
        stack: list[Result] = []
        for _, each in sorted(events, key=lambda event: event[0]):
            if isinstance(each, Result):
                stack.append(each)
            elif stack:
                matched.add(id(stack.pop()))
    return [each for each in results if id(each) not in matched]


def _content(topic: str, payload: bytes) -> bytes:
    """Return a payload without the time in it: a meter's has the time of its row."""
    if not topic.startswith("energy/"):
        return payload
    try:
        body = orjson.loads(payload)
        return orjson.dumps([body["units"], body.get("register"), [row["value"] for row in body["data"]]])
    except (ValueError, KeyError, TypeError):
        return payload


def _shown(declared: Declared, publication: Publication) -> Any:
    """Return what people are shown of a publication: a number, or the fields of a machine."""
    body = orjson.loads(publication.payload)
    match declared.kind:
        case "sensor":
            return body["value"]
        case "setpoint":
            return body["celsius"]
        case "charger":
            return body["data"]["soc"]
        case "meter":
            return body["data"][0]["value"]
    return {name: body[name] for name in declared.values if name in body}
