"""The present state of every charger, from retained messages. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

from adapters.client.bus import Received
from broker.contract.charging.topics import CHARGER_LINK, PAIRS, STATE, WIDGET_LINK, ChargerState, ClientLink, Pairs
from broker.contract.components.topics import STATE as COMPONENT_STATE
from broker.contract.components.topics import ComponentState, Presence
from broker.errors import Rejected
from broker.message import decode
from broker.stream import Stream

P = TypeVar("P")

CONTROLLER = "charging"
"""The component that publishes the states of charge."""
_DIGITS = re.compile("([0-9]+)")


class Seen(Enum):
    """Whether a charger or widget is connected now."""

    ONLINE = "online"
    OFFLINE = "offline"
    NEVER = "never seen"


@dataclass(frozen=True, slots=True)
class LiveChargers:
    """The retained messages about chargers and widgets; `pairs` maps chargers to widgets."""

    pairs: Mapping[str, str] = field(default_factory=dict)
    states: Mapping[str, ChargerState] = field(default_factory=dict)
    charger_links: Mapping[str, ClientLink] = field(default_factory=dict)
    widget_links: Mapping[str, ClientLink] = field(default_factory=dict)
    components: Mapping[str, ComponentState] = field(default_factory=dict)

    @classmethod
    def of(cls, retained: Mapping[str, Received]) -> "LiveChargers":
        """Read retained messages by topic; those that cannot be decoded are left out."""
        (pairs,) = _decoded(PAIRS, retained).values() or (Pairs(pairs={}),)
        return cls(
            pairs.pairs,
            _decoded(STATE, retained),
            _decoded(CHARGER_LINK, retained),
            _decoded(WIDGET_LINK, retained),
            _decoded(COMPONENT_STATE, retained),
        )

    @property
    def known(self) -> set[str]:
        """All chargers: those of the pairs, and those that were ever connected."""
        return self.pairs.keys() | self.states.keys() | self.charger_links.keys()

    @property
    def seen(self) -> list[str]:
        """The chargers that were ever connected, c2 before c10."""
        return sorted(self.states.keys() | self.charger_links.keys(), key=natural)

    @property
    def never_seen(self) -> set[str]:
        """The chargers that are in the pairs only."""
        return self.pairs.keys() - self.states.keys() - self.charger_links.keys()

    def is_online(self, component: str) -> bool:
        """Return whether a component is online by its own state."""
        state = self.components.get(component)
        return state is not None and state.state is Presence.ONLINE

    def row(self, charger: str) -> dict[str, Any]:
        """Return the row of a charger; unknown values are None."""
        state = self.states.get(charger)
        widget = self.pairs.get(charger) or (state.widget if state else None)
        running = state.session if state else None
        return {
            "charger": charger,
            "state": self._charger_seen(charger).value,
            "soc": state.soc if state else None,
            "status": state.status.value if state else None,
            "widget": widget,
            "widget_state": self._seen(self.widget_links.get(widget or "")).value,
            "session": running.session if running else None,
            "started_at": running.started_at if running else None,
            "soc_start": running.soc_start if running else None,
            "soc_at": state.soc_at if state else None,
        }

    def _charger_seen(self, charger: str) -> Seen:
        link, state = self.charger_links.get(charger), self.states.get(charger)
        return Seen(state.state) if link is None and state is not None else self._seen(link)

    def _seen(self, link: ClientLink | None) -> Seen:
        """A killed adapter cannot publish that its connections are closed: its links count only while it is online."""
        if link is None:
            return Seen.NEVER
        return Seen.ONLINE if link.connected and self.is_online(link.adapter) else Seen.OFFLINE


def filters(charger: str | None) -> tuple[str, ...]:
    """Return the topic filters for one charger, or for all."""
    own = (each.template.filter if charger is None else each.template.topic(id=charger) for each in (STATE, CHARGER_LINK))
    return *own, *(each.template.filter for each in (WIDGET_LINK, PAIRS, COMPONENT_STATE))


def natural(name: str) -> tuple[Any, ...]:
    """Return the sort key for natural order: c2 before c10. Numbers may have any length."""
    parts: list[Any] = _DIGITS.split(name)
    for place in range(1, len(parts), 2):
        digits = parts[place].lstrip("0")
        parts[place] = (len(digits), digits)
    return tuple(parts), name


def _decoded(stream: Stream[P], retained: Mapping[str, Received]) -> dict[str, P]:
    """Return the payloads of a stream by the level of their topic, or by the topic if it has no level."""
    found = {}
    for topic, message in retained.items():
        levels = stream.parse(topic)
        if levels is None:
            continue
        try:
            found[next(iter(levels.values()), topic)] = decode(message.payload, stream.payload)
        except Rejected:
            continue
    return found
