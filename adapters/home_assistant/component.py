"""The Home Assistant adapter: announces each thing when it first hears of it, and withdraws what is forgotten."""

from adapters.home_assistant.declaration import ANSWER_TOPIC, RECORDER_TOPIC
from adapters.home_assistant.entities import KINDS, Thing, announce, withdraw
from adapters.home_assistant.totals import Totals
from broker.contract.charging.topics import STATE as CHARGER
from broker.contract.components.topics import FORGET, read_forget
from broker.contract.components.topics import STATE as COMPONENT
from broker.contract.energy.topics import INTERVAL
from broker.contract.heating.topics import STATE as ROOM
from broker.contract.home_assistant.topics import ENTITY, SHIP_TOTAL, ShipTotal
from broker.contract.machines.topics import AVERAGE
from broker.message import Message, Publication

_THINGS = ((ROOM, "room", "room"), (AVERAGE, "machine", "id"), (CHARGER, "charger", "id"), (INTERVAL, "ship", "ship"))
"""Stream, kind and level of its name: of the component that admits the thing, so that a flood of invented ones stops there."""


class HomeAssistant:
    """Sans-I/O component.

    Args:
        time_scale: plant seconds per wall second.
        start: token of this start of the component.
        announces: False: it announces nothing, and withdraws what was announced before.
    """

    def __init__(self, time_scale: float = 1.0, start: bytes = b"start", announces: bool = True) -> None:
        self._announces = announces
        self._known: set[Thing] = set()
        self._totals = Totals(time_scale, start)
        self._published: dict[str, float] = {}

    def on_message(self, message: Message, now_s: float) -> list[Publication]:
        """Take a message about a thing, a request to forget one, or the recorder's answer.

        Raises:
            Rejected: the request or the answer cannot be used.
        """
        if not self._announces:
            return _withdrawal(message)
        for stream, kind, level in _THINGS:
            if levels := stream.parse(message.topic):
                return self._take(Thing(kind, levels[level]), message)
        if levels := SHIP_TOTAL.parse(message.topic):
            return self._meet(Thing("ship", levels["ship"])) if message.payload else []  # an empty one is our own
        if message.topic == ANSWER_TOPIC:
            return self._take_totals(message, now_s)
        if message.topic == RECORDER_TOPIC:
            self._totals.on_recorder(COMPONENT.decode(message))
        if FORGET.parse(message.topic) is not None:
            return self._forget(message)
        return []

    def on_tick(self, now_s: float) -> list[Publication]:
        """Ask the recorder for totals when quarters have changed."""
        return self._totals.tick(now_s) if self._announces else []

    def _take(self, thing: Thing, message: Message) -> list[Publication]:
        if thing.kind == "ship":
            self._totals.on_change()
        return self._meet(thing) if message.payload else self._part_from(thing)

    def _meet(self, thing: Thing) -> list[Publication]:
        if thing in self._known:
            return []
        self._known.add(thing)
        return announce(thing)

    def _forget(self, message: Message) -> list[Publication]:
        for kind in KINDS:
            if (name := read_forget(message, kind)) is not None:
                return self._part_from(Thing(kind, name))
        return []

    def _part_from(self, thing: Thing) -> list[Publication]:
        """Withdraw a thing, also one that an earlier start announced."""
        self._known.discard(thing)
        if thing.kind == "ship":
            self._published.pop(thing.name, None)
        return withdraw(thing)

    def _take_totals(self, message: Message, now_s: float) -> list[Publication]:
        """Publish totals of the ships that are announced: the recorder also knows those that were forgotten."""
        totals = self._totals.take(message, now_s)
        changed = {
            ship: kwh for ship, kwh in totals.items() if Thing("ship", ship) in self._known and self._published.get(ship) != kwh
        }
        self._published |= changed
        return [SHIP_TOTAL.publication(ShipTotal(kwh), ship=ship) for ship, kwh in changed.items()]


def _withdrawal(message: Message) -> list[Publication]:
    ours = any(stream.parse(message.topic) is not None for stream in (ENTITY, SHIP_TOTAL))
    return [Publication(topic=message.topic, payload=b"", retain=True)] if ours and message.payload else []
