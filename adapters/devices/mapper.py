"""Foreign messages of all active declarations → publications, with counts for each declaration. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from adapters.devices.declarations import Declared
from adapters.devices.mapping import Document, Reading, publication, read
from adapters.devices.values import Malformed
from broker.message import Publication
from broker.mqtt.topics import matches
from broker.stamp import rfc3339

MOST_ROUTES = 100_000
"""Topics for which the matching declarations are remembered."""


@dataclass(slots=True)
class Counts:
    """Counts of a declaration since the start, and what was wrong with its last malformed message."""

    mapped: int = 0
    ignored: int = 0
    rejected: int = 0
    error: str | None = None
    error_at: str | None = None


@dataclass(slots=True)
class Taken:
    """What became of a message. `reason`: why it is malformed, by at least one declaration."""

    publications: list[Publication] = field(default_factory=list)
    reason: str | None = None


class Mapper:
    """Maps messages by the declarations that `use` was given last."""

    def __init__(self) -> None:
        self._declared: dict[str, Declared] = {}
        self._exact: dict[str, list[Declared]] = {}
        self._wild: list[Declared] = []
        self._routes: dict[str, tuple[Declared, ...]] = {}
        self.newest: dict[str, datetime] = {}
        """The newest device time that was mapped, by `KIND.NAME`; kept when a declaration goes, since it may come again."""
        self.counts: dict[str, Counts] = {}
        self.changed: set[str] = set()
        """Declarations whose counts have changed; the caller clears it."""

    def use(self, declared: Iterable[Declared]) -> None:
        """Replace the declarations; counts of those that remain go on."""
        self._declared = {each.id: each for each in declared}
        self.counts = {each: self.counts.get(each, Counts()) for each in self._declared}
        self.changed &= set(self._declared)
        self._exact, self._wild, self._routes = {}, [], {}
        for each in self._declared.values():
            if each.source is None:
                continue
            if "+" in each.source or "#" in each.source:
                self._wild.append(each)
            else:
                self._exact.setdefault(each.source, []).append(each)

    def route(self, topic: str) -> tuple[Declared, ...]:
        """Return the declarations whose filter selects a topic."""
        found = self._routes.get(topic)
        if found is None:
            wild = (each for each in self._wild if each.source is not None and matches(each.source, topic))
            found = (*self._exact.get(topic, ()), *wild)
            if len(self._routes) >= MOST_ROUTES:
                self._routes.clear()
            self._routes[topic] = found
        return found

    def take(self, topic: str, payload: bytes, retain: bool, now_at: datetime, at: datetime) -> Taken:
        """Map a message.

        Args:
            topic: its topic.
            payload: as received.
            retain: the broker delivered it because it was retained, and not because it was published just now.
            now_at: wall time.
            at: plant time.
        """
        taken, document = Taken(), Document.of(payload)
        for declared in self.route(topic):
            counts = self.counts[declared.id]
            self.changed.add(declared.id)
            if retain and not declared.retained:
                counts.ignored += 1
                continue
            try:
                reading = read(declared, document, now_at)
            except Malformed as error:
                counts.rejected += 1
                counts.error, counts.error_at = str(error), rfc3339(now_at)
                taken.reason = taken.reason or f"{declared.id}: {error}"
                continue
            if reading is None or not self._is_new(declared, reading):
                counts.ignored += 1
                continue
            counts.mapped += 1
            taken.publications += self._publications(declared, reading, at)
        return taken

    def _is_new(self, declared: Declared, reading: Reading) -> bool:
        """Return whether a reading is newer than every one before, and remember its time if it is."""
        if reading.device_at is None:
            return True
        newest = self.newest.get(declared.id)
        if newest is not None and reading.device_at <= newest:
            return False
        self.newest[declared.id] = reading.device_at
        return True

    def _publications(self, declared: Declared, reading: Reading, at: datetime) -> list[Publication]:
        found = publication(declared, reading, at)
        return [] if found is None else [found]
