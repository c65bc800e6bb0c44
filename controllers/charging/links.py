"""Which chargers are connected, as far as can be known: what adapters said, and whether those are still there to correct it."""

from dataclasses import dataclass, replace
from enum import Enum, auto

from broker.contract.charging.topics import Link
from broker.contract.components.topics import ComponentState, Presence
from broker.stamp import Stamp

MOST_COMPONENTS = 1_000
"""Components whose presence is remembered before one of their links is heard."""


class Standing(Enum):
    """What is known of a charger's connection."""

    UNKNOWN = auto()
    """Nobody has spoken of it; perhaps it needs none."""
    CONNECTED = auto()
    DOUBTFUL = auto()
    """The adapter that held it is away, or was started anew."""
    LOST = auto()


@dataclass(frozen=True, slots=True)
class _Held:
    link: Link
    boot: str | None
    """The start of the adapter that made the connection."""


class Links:
    """The last link of each charger, found by charger and by adapter."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        self._chargers: dict[str, set[str]] = {}
        """By adapter, those that it has connected."""
        self._presence: dict[str, ComponentState] = {}

    def hear(self, charger: str, link: Link, stamp: Stamp, retained: bool) -> bool:
        """Take a link, and tell whether it is news: that an earlier connection than the present one was closed is none."""
        before = self._held.get(charger)
        if before is not None and before.link.connected and before.link.connection != link.connection:
            if not link.connected and not retained:
                return False
        elif before is not None and before.link == link and retained:
            return False
        self.forget(charger)
        self._held[charger] = _Held(link, self._boot(link, stamp, retained))
        if link.connected:
            self._chargers.setdefault(link.adapter, set()).add(charger)
        return True

    def _boot(self, link: Link, stamp: Stamp, retained: bool) -> str | None:
        """Return which start of the adapter a link is of; not known where one that was thought away speaks just now."""
        if stamp.source == link.adapter and stamp.boot is not None:
            return stamp.boot
        presence = self._presence.get(link.adapter)
        return presence.boot if presence and (retained or presence.state is Presence.ONLINE) else None

    def hear_component(self, name: str, presence: ComponentState) -> tuple[str, ...]:
        """Take that a component is there or away; where that is news, return the chargers that it has connected."""
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

    def spoke(self, charger: str, stamp: Stamp) -> bool:
        """Take that a charger spoke; tell whether a doubtful link holds after all: its adapter is there, and passed it on."""
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

    def standing(self, charger: str) -> Standing:
        """Return what is known of a charger's connection."""
        held = self._held.get(charger)
        if held is None:
            return Standing.UNKNOWN
        if not held.link.connected:
            return Standing.LOST
        presence = self._presence.get(held.link.adapter)
        if presence is None or (presence.state is Presence.ONLINE and held.boot in (None, presence.boot)):
            return Standing.CONNECTED
        return Standing.DOUBTFUL

    def forget(self, charger: str) -> None:
        """Forget a charger's link."""
        held = self._held.pop(charger, None)
        chargers = self._chargers.get(held.link.adapter) if held else None
        if held is not None and chargers is not None:
            chargers.discard(charger)
            if not chargers:
                del self._chargers[held.link.adapter]
