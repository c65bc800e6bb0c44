"""Levels and setpoints → payloads for devices. Pure."""

from collections.abc import Iterable, Mapping

from adapters.devices.declared import Declared
from adapters.devices.mapper import Counts
from adapters.devices.outer_loop import OuterLoop
from adapters.devices.send import LEVEL, SETPOINT, NotInMap
from broker.contract.heating.topics import STATE, VALVE_LEVEL
from broker.message import Message, Publication
from broker.stream import AnyStream

ECHO_C = 0.06


class Outputs:
    """What the declared valves and setpoints have been sent."""

    def __init__(self) -> None:
        self._declared: dict[str, Declared] = {}
        self._inputs: dict[str, dict[str, float]] = {}
        """Room → the latest level and setpoint."""
        self._loops: dict[str, OuterLoop] = {}
        """Of the rooms with devices that take a setpoint."""
        self._sent: dict[str, bytes] = {}
        self._set: dict[str, list[float]] = {}
        """The last two setpoints of each device, which it reports back."""
        self.counts: dict[str, int] = {}
        """Payloads sent, by `KIND.NAME`."""
        self.errors: dict[str, str] = {}
        """Why nothing can be sent, by `KIND.NAME`."""

    def use(self, declared: Iterable[Declared]) -> list[Publication]:
        """Replace the declarations; return what a changed one is sent."""
        new = {each.id: each for each in declared if each.send is not None}
        for name in [each for each in self._sent if new.get(each) != self._declared.get(each)]:
            del self._sent[name]
        self._declared = new
        return [each for declaration in new.values() for each in self._send(declaration)]

    @property
    def biases(self) -> dict[str, float]:
        """The integrals of the loops, by room."""
        return {room: loop.bias_c for room, loop in self._loops.items()}

    def restore(self, biases: Mapping[str, float]) -> None:
        """Continue from the integrals of an earlier start."""
        self._loops = {room: OuterLoop(bias_c=bias_c) for room, bias_c in biases.items()}

    def is_echo(self, declared: Declared, celsius: float) -> bool:
        """Return whether a device reports a setpoint that it was sent, and that was not turned by hand."""
        return any(abs(celsius - each) < ECHO_C for each in self._set.get(declared.id, ()))

    def tick(self, now_s: float) -> list[Publication]:
        """Let plant time pass; return what devices are sent."""
        changed = []
        for room, loop in self._loops.items():
            set_c = loop.tick(now_s)
            if set_c is not None and self._inputs.get(room, {}).get(SETPOINT) != set_c:
                self._inputs[room][SETPOINT] = set_c
                changed += self._send_room(room)
        return changed

    def counted(self, counts: Mapping[str, Counts]) -> set[str]:
        """Put the numbers of payloads sent into the counts; return the declarations for which that changed something."""
        changed = set()
        for name, count in self.counts.items():
            known = counts.get(name)
            declared = self._declared.get(name)
            if known is not None and declared is not None and declared.source is None and known.mapped != count:
                known.mapped = count
                changed.add(name)
        return changed

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

    def take(self, message: Message, now_s: float) -> list[Publication]:
        """Take a message of a room at a plant time in seconds; return what its devices are sent.

        Raises:
            Rejected: it is not of the shape of its stream.
        """
        if levels := VALVE_LEVEL.parse(message.topic):
            room = levels["room"]
            self._inputs.setdefault(room, {})[LEVEL] = VALVE_LEVEL.decode(message).level
        elif levels := STATE.parse(message.topic):
            room, state = levels["room"], STATE.decode(message)
            loop = self._loops.setdefault(room, OuterLoop())
            set_c = loop.take(state.setpoint, state.temperature, state.mode, now_s)
            self._inputs.setdefault(room, {})[SETPOINT] = set_c
        else:
            return []
        return self._send_room(room)

    def _send_room(self, room: str) -> list[Publication]:
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
        self.counts[declared.id] = self.counts.get(declared.id, 0) + 1
        if SETPOINT in inputs:
            self._set[declared.id] = [*self._set.get(declared.id, [])[-1:], inputs[SETPOINT]]
        return [Publication(topic=declared.to, payload=payload, qos=1, retain=False)]
