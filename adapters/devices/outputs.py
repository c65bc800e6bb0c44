"""Levels and setpoints → payloads for devices. Pure."""

from collections.abc import Iterable

from adapters.devices.declarations import Declared
from adapters.devices.send import LEVEL, SETPOINT, NotInMap
from broker.contract.heating.topics import STATE, VALVE_LEVEL
from broker.message import Message, Publication
from broker.stream import AnyStream


class Outputs:
    """What the declared valves and setpoints have been sent."""

    def __init__(self) -> None:
        self._declared: dict[str, Declared] = {}
        self._inputs: dict[str, dict[str, float]] = {}
        """Room → the latest level and setpoint."""
        self._sent: dict[str, bytes] = {}
        self.errors: dict[str, str] = {}
        """Why nothing can be sent, by `KIND.NAME`."""

    def use(self, declared: Iterable[Declared]) -> list[Publication]:
        """Replace the declarations; return what a changed one is sent."""
        new = {each.id: each for each in declared if each.send is not None}
        for name in [each for each in self._sent if new.get(each) != self._declared.get(each)]:
            del self._sent[name]
        self._declared = new
        return [each for declaration in new.values() for each in self._send(declaration)]

    def streams(self) -> dict[str, AnyStream]:
        """Return the topics of the contract that are needed, with their streams."""
        found: dict[str, AnyStream] = {}
        for each in self._declared.values():
            inputs = each.send.inputs if each.send else frozenset()
            if LEVEL in inputs:
                found[VALVE_LEVEL.template.topic(room=each.identity)] = VALVE_LEVEL
            if SETPOINT in inputs:
                found[STATE.template.topic(room=each.identity)] = STATE
        return found

    def take(self, message: Message) -> list[Publication]:
        """Take a message of a room; return what its devices are sent.

        Raises:
            Rejected: it is not of the shape of its stream.
        """
        if levels := VALVE_LEVEL.parse(message.topic):
            room = levels["room"]
            self._inputs.setdefault(room, {})[LEVEL] = VALVE_LEVEL.decode(message).level
        elif levels := STATE.parse(message.topic):
            room = levels["room"]
            self._inputs.setdefault(room, {})[SETPOINT] = STATE.decode(message).setpoint
        else:
            return []
        return [each for declared in self._declared.values() if declared.identity == room for each in self._send(declared)]

    def _send(self, declared: Declared) -> list[Publication]:
        """Return the publication for one device if its payload has changed."""
        inputs = self._inputs.get(declared.identity, {})
        if declared.send is None or declared.to is None or not declared.send.inputs <= set(inputs):
            return []
        try:
            payload = declared.send.payload(inputs)
        except NotInMap as error:
            self.errors[declared.id] = str(error)
            return []
        self.errors.pop(declared.id, None)
        if self._sent.get(declared.id) == payload:
            return []
        self._sent[declared.id] = payload
        return [Publication(topic=declared.to, payload=payload, qos=1, retain=False)]
