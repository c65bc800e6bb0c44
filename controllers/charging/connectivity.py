"""Connectivity of chargers: what adapters report about their links, and grace periods for chargers that disconnect.

An adapter publishes a link for each charger. A `connected` link holds as long as the start of the adapter that
published it is online, because only that adapter can correct it.
"""

import heapq
from dataclasses import dataclass, replace
from enum import Enum, auto

from broker.contract.charging.topics import ClientLink
from broker.contract.components.topics import ComponentState, Presence
from broker.stamp import Stamp

MOST_COMPONENTS = 1_000
"""Components whose presence is remembered before one of their links arrives."""
MOST_EXPIRED = 1_000
"""Grace periods that `expired` returns at once: when all chargers of an adapter disconnect, other messages must not wait."""


class Connectivity(Enum):
    """Whether a charger is connected."""

    UNKNOWN = auto()
    """No adapter has reported it; it may not use an adapter of ours."""
    CONNECTED = auto()
    UNCERTAIN = auto()
    """The adapter that held its connection is offline, or was restarted."""
    DISCONNECTED = auto()


@dataclass(frozen=True, slots=True)
class _Held:
    link: ClientLink
    boot: str | None
    """The start of the adapter that made the connection."""


class LinkTracker:
    """The last link of each charger, found by charger and by adapter."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        self._chargers: dict[str, set[str]] = {}
        """Connected chargers by adapter."""
        self._presence: dict[str, ComponentState] = {}

    def take_link(self, charger: str, link: ClientLink, stamp: Stamp, retained: bool) -> bool:
        """Take a link; return whether it changes anything: the end of a connection before the present one does not."""
        before = self._held.get(charger)
        if before is not None and before.link.connected and before.link.connection != link.connection:
            if not link.connected and not retained:
                return False
        elif before is not None and before.link == link and retained:
            return False
        self.remove(charger)
        self._held[charger] = _Held(link, self._boot(link, stamp, retained))
        if link.connected:
            self._chargers.setdefault(link.adapter, set()).add(charger)
        return True

    def _boot(self, link: ClientLink, stamp: Stamp, retained: bool) -> str | None:
        """Return the adapter's start that published a link; None for a live link of an adapter that was believed offline."""
        if stamp.source == link.adapter and stamp.boot is not None:
            return stamp.boot
        presence = self._presence.get(link.adapter)
        return presence.boot if presence and (retained or presence.state is Presence.ONLINE) else None

    def take_presence(self, name: str, presence: ComponentState) -> tuple[str, ...]:
        """Take a component's presence; return the chargers that it has connected, none if the presence is unchanged."""
        if self._presence.get(name) == presence:
            return ()
        chargers = tuple(self._chargers.get(name, ()))
        if chargers or name in self._presence or len(self._presence) < MOST_COMPONENTS:
            self._presence[name] = presence
        for charger in chargers:
            held = self._held[charger]
            if held.boot is None:
                self._held[charger] = replace(held, boot=presence.boot)
        return chargers

    def confirm(self, charger: str, stamp: Stamp) -> bool:
        """Note a charger's frame; return whether it shows that an uncertain link holds: its adapter, online, passed it on."""
        held = self._held.get(charger)
        presence = self._presence.get(held.link.adapter) if held else None
        if held is None or presence is None or presence.state is not Presence.ONLINE or not held.link.connected:
            return False
        if (
            stamp.source not in (None, held.link.adapter)
            or stamp.boot not in (None, presence.boot)
            or held.boot == presence.boot
        ):
            return False
        self._held[charger] = replace(held, boot=presence.boot)
        return True

    def connectivity(self, charger: str) -> Connectivity:
        """Return whether a charger is connected."""
        held = self._held.get(charger)
        if held is None:
            return Connectivity.UNKNOWN
        if not held.link.connected:
            return Connectivity.DISCONNECTED
        presence = self._presence.get(held.link.adapter)
        if presence is None or (presence.state is Presence.ONLINE and held.boot in (None, presence.boot)):
            return Connectivity.CONNECTED
        return Connectivity.UNCERTAIN

    def remove(self, charger: str) -> None:
        """Remove a charger's link."""
        held = self._held.pop(charger, None)
        chargers = self._chargers.get(held.link.adapter) if held else None
        if held is not None and chargers is not None:
            chargers.discard(charger)
            if not chargers:
                del self._chargers[held.link.adapter]


class GracePeriods:
    """Running grace periods of chargers, in plant seconds. Looking for expired ones costs only what has expired."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[float, float]] = {}
        """Deadline and start of each charger's period."""
        self._heap: list[tuple[float, str]] = []
        """Deadlines, those of cancelled periods included, which are skipped when they are due."""

    def start(self, charger: str, since_s: float, grace_s: float) -> None:
        """Start a charger's grace period, unless one that ends earlier is running."""
        deadline_s = since_s + grace_s
        if charger not in self._running or deadline_s < self._running[charger][0]:
            self._running[charger] = deadline_s, since_s
            heapq.heappush(self._heap, (deadline_s, charger))

    def cancel(self, charger: str) -> None:
        """Cancel a charger's grace period, if one is running."""
        self._running.pop(charger, None)

    def expired(self, now_s: float) -> list[tuple[str, float]]:
        """Remove and return the chargers whose grace period is over, at most 1,000, each with the start of the period."""
        found: list[tuple[str, float]] = []
        while self._heap and self._heap[0][0] <= now_s and len(found) < MOST_EXPIRED:
            deadline_s, charger = heapq.heappop(self._heap)
            period = self._running.get(charger)
            if period is not None and period[0] == deadline_s:
                del self._running[charger]
                found.append((charger, period[1]))
        return found
