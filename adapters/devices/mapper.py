"""Foreign messages of all active declarations → publications, with counts for each declaration. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from adapters.devices.declared import Declared
from adapters.devices.edges import Edges
from adapters.devices.mapping import Document, Reading, publication, read
from adapters.devices.modbus.cells import Polled
from adapters.devices.sparkplug.host import NAMESPACE
from adapters.devices.sparkplug.wire import Malformed as NotSparkplug
from adapters.devices.values import Malformed
from broker.message import Publication
from broker.mqtt.topics import matches
from broker.stamp import rfc3339

CLOCK_AHEAD = timedelta(minutes=1)
"""How far ahead of wall time the clock of a device may be before it counts as wrong."""
MOST_ROUTES = 100_000
"""Topics for which the matching declarations are remembered."""


@dataclass(slots=True)
class Counts:
    """Counts of a declaration since the start, and what was wrong with its last malformed message."""

    mapped: int = 0
    ignored: int = 0
    rejected: int = 0
    was_quiet: bool = False
    """There was a message without a reading: it is logged once."""
    error: str | None = None
    error_at: str | None = None


@dataclass(slots=True)
class Taken:
    """What became of a message. `reason`: why it is malformed, by at least one declaration."""

    publications: list[Publication] = field(default_factory=list)
    reason: str | None = None
    commands: list[Publication] = field(default_factory=list)
    """What a device is asked, beside the publications that the message becomes."""
    missed: str | None = None
    """Why it is asked."""


class Mapper:
    """Maps messages by the declarations that `use` was given last."""

    def __init__(self) -> None:
        self._declared: dict[str, Declared] = {}
        self._exact: dict[str, list[Declared]] = {}
        self._wild: list[Declared] = []
        self._routes: dict[str, tuple[Declared, ...]] = {}
        self._edges = Edges()
        self.is_echo: Callable[[Declared, float], bool] = lambda _declared, _value: False
        """Whether a device reports a setpoint that it was sent."""
        self.links: dict[str, Literal["online", "offline"]] = {}
        """Whether a device is connected, by `KIND.NAME`, where its protocol shows it."""
        self.newest: dict[str, datetime] = {}
        """The newest device time that was mapped, by `KIND.NAME`; kept when a declaration goes, since it may come again."""
        self.counts: dict[str, Counts] = {}
        self.quiet: list[str] = []
        """Declarations whose first message without a reading has come; the caller logs and clears it."""
        self.changed: set[str] = set()
        """Declarations whose counts have changed; the caller clears it."""

    def use(self, declared: Iterable[Declared]) -> None:
        """Replace the declarations; counts of those that remain go on."""
        self._declared = {each.id: each for each in declared}
        self.counts = {each: self.counts.get(each, Counts()) for each in self._declared}
        self.changed &= set(self._declared)
        self.links = {each: link for each, link in self.links.items() if each in self._declared}
        self._exact, self._wild, self._routes = {}, [], {}
        self._edges.use(self._declared.values())
        for each in self._declared.values():
            if each.selects is None:
                continue
            if "+" in each.selects or "#" in each.selects:
                self._wild.append(each)
            else:
                self._exact.setdefault(each.selects, []).append(each)

    def route(self, topic: str) -> tuple[Declared, ...]:
        """Return the declarations that need the messages of a topic."""
        found = self._routes.get(topic)
        if found is None:
            wild = (each for each in self._wild if each.selects is not None and matches(each.selects, topic))
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
        if topic.startswith(f"{NAMESPACE}/"):
            return self._take_sparkplug(topic, payload, retain, now_at, at)
        taken, document = Taken(), Document.of(payload)
        for declared in self.route(topic):
            if retain and not declared.retained:
                self._counts(declared).ignored += 1
                continue
            try:
                reading = read(declared, document, now_at)
            except Malformed as error:
                self._reject(declared, error, taken, now_at)
                continue
            echo = reading is not None and declared.kind == "setpoint" and self.is_echo(declared, reading.values[""])
            if reading is None or echo or not self._is_new(declared, reading, now_at):
                counts = self._counts(declared)
                counts.ignored += 1
                if reading is None and not counts.was_quiet:
                    counts.was_quiet = True
                    self.quiet.append(declared.id)
                continue
            self._map(declared, reading, taken, at)
        return taken

    def tick(self, now_at: datetime) -> list[Publication]:
        """Return what devices are to be asked now."""
        return self._edges.tick(now_at)

    def _take_sparkplug(self, topic: str, payload: bytes, retain: bool, now_at: datetime, at: datetime) -> Taken:
        taken = Taken()
        if retain:
            return taken
        try:
            meaning = self._edges.take(topic, payload, now_at)
        except NotSparkplug as error:
            for declared in self.route(topic):
                self._reject(declared, Malformed(str(error)), taken, now_at)
            return taken
        taken.commands, taken.missed = meaning.commands, meaning.missed
        for declared, is_online in meaning.links:
            self.links[declared.id] = "online" if is_online else "offline"
            self.changed.add(declared.id)
        for declared, found in meaning.readings:
            if isinstance(found, Malformed):
                self._reject(declared, found, taken, now_at)
            elif found is None:
                self._counts(declared).ignored += 1
            else:
                self._map(declared, found, taken, at)
        return taken

    def take_polled(self, name: str, polled: Polled, now_at: datetime, at: datetime) -> Taken:
        """Map what was read from a device, or note why nothing was.

        Args:
            name: the declaration, `KIND.NAME`.
            polled: what was read.
            now_at: wall time.
            at: plant time.
        """
        taken, declared = Taken(), self._declared.get(name)
        if declared is None:
            return taken
        self.links[name] = "online" if polled.is_online else "offline"
        counts = self._counts(declared)
        if polled.error is not None and polled.registers:
            self._reject(declared, Malformed(polled.error), taken, now_at)
            return taken
        if polled.error is not None:
            counts.error, counts.error_at = polled.error, rfc3339(now_at)
            return taken
        try:
            reading = read(declared, Document.of_values(polled.values), now_at)
        except Malformed as error:
            self._reject(declared, error, taken, now_at)
            return taken
        counts.error = counts.error_at = None
        if reading is None:
            counts.ignored += 1
        else:
            self._map(declared, reading, taken, at)
        return taken

    def note_error(self, name: str, error: str, now_at: datetime) -> None:
        """Note what is wrong with a declaration, beside its messages."""
        counts = self.counts.get(name)
        if counts is not None:
            counts.error, counts.error_at = error, rfc3339(now_at)
            self.changed.add(name)

    def _counts(self, declared: Declared) -> Counts:
        self.changed.add(declared.id)
        return self.counts[declared.id]

    def _map(self, declared: Declared, reading: Reading, taken: Taken, at: datetime) -> None:
        self._counts(declared).mapped += 1
        taken.publications += self._publications(declared, reading, at)

    def _reject(self, declared: Declared, error: Malformed, taken: Taken, now_at: datetime) -> None:
        counts = self._counts(declared)
        counts.rejected += 1
        counts.error, counts.error_at = str(error), rfc3339(now_at)
        taken.reason = taken.reason or f"{declared.id}: {error}"

    def _is_new(self, declared: Declared, reading: Reading, now_at: datetime) -> bool:
        """Return whether a reading is newer than every one before, and remember its time if it is.

        A device whose clock was ahead and has been put right is not ignored until its earlier times have come.
        """
        if reading.device_at is None:
            return True
        newest = self.newest.get(declared.id)
        put_right = newest is not None and reading.device_at <= now_at + CLOCK_AHEAD < newest
        if newest is not None and reading.device_at <= newest and not put_right:
            return False
        self.newest[declared.id] = reading.device_at
        return True

    def _publications(self, declared: Declared, reading: Reading, at: datetime) -> list[Publication]:
        found = publication(declared, reading, at)
        return [] if found is None else [found]
