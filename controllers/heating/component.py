"""The heating controller: takes readings and setpoints of any number of rooms."""

from dataclasses import asdict, replace
from typing import Any

from broker.admission import Admission, TokenBucket
from broker.contract.components.topics import FORGET, read_forget, removal
from broker.contract.heating.topics import (
    READING,
    SETPOINT,
    STATE,
    VALVE_LEVEL,
    DampedOscillation,
    HeatingState,
    IdentifiedRoom,
    ValveLevel,
)
from broker.errors import Rejected
from broker.log import Log
from broker.message import Message, Publication, because
from broker.stamp import MOST_CAUSES, TICK
from controllers.heating.model import Identified
from controllers.heating.modes import Alarm
from controllers.heating.oscillation import Oscillation
from controllers.heating.room import (
    DEFAULT_SETPOINT_C,
    Decision,
    RoomControl,
)
from controllers.heating.sensor import MOST_SENSORS

log = Log(__name__)

FIRST_DECISION_AFTER_S = 60.0
"""Long enough for retained messages and the first readings of all sensors to arrive."""
INTERVAL_S = 60.0
MOST_LOGGED = 100
"""Alarms in the log per plant hour."""
FEWEST_WITHOUT_HEAT = 2
REMOVED_AFTER_S = 24 * 3600.0
MOST_ROOMS = 20_000
MOST_DECISIONS_PER_S = 2_000
"""Decisions per wall second that a core has time for: at a high time scale, it limits the rooms."""
MOST_NEW_ROOMS, NEW_ROOMS_PER_S = 500, 10.0
"""Rooms that may be new at once, and then per wall second."""


class HeatingController:
    """Sans-I/O component that holds every room with readings at its setpoint.

    Readings are only stored; `on_tick`, called every few plant seconds, decides for each room about once a minute, and at once
    after its setpoint has changed. A restarted controller continues from its own retained level and state. `time_scale` is
    plant seconds per wall second.
    """

    def __init__(self, time_scale: float = 1.0) -> None:
        most = min(MOST_ROOMS, int(MOST_DECISIONS_PER_S * INTERVAL_S / time_scale) or 1)
        self._admission = Admission("rooms", most, MOST_NEW_ROOMS, NEW_ROOMS_PER_S, time_scale)
        self._rooms: dict[str, RoomControl] = {}
        self._levels: dict[str, int] = {}
        self._setpoints: dict[str, float] = {}
        self._due_s: dict[str, float] = {}
        self._references: dict[str, dict[str, str]] = {}
        """How a cause names the last reading of each sensor, by room."""
        self._setpoint_references: dict[str, str] = {}
        self._implausible: set[str] = set()
        self._without_heat: set[str] = set()
        self._logged = TokenBucket(MOST_LOGGED, MOST_LOGGED / 3600.0)

    def on_message(self, message: Message, now_s: float) -> list[Publication]:
        """Take a reading, a setpoint, or a retained level or state of an earlier run.

        Raises:
            Rejected: the message cannot be used: no room in the topic, not JSON, of another shape or type, a setpoint outside
                5 to 35 °C, too many rooms or sensors, or too many new rooms in a short time.
        """
        if levels := READING.parse(message.topic):
            self._take_reading(levels["room"], message, now_s)
        elif levels := SETPOINT.parse(message.topic):
            self._take_setpoint(levels["room"], message, now_s)
        elif levels := STATE.parse(message.topic):
            self._restore_state(levels["room"], message, now_s)
        elif levels := VALVE_LEVEL.parse(message.topic):
            self._restore_level(levels["room"], message, now_s)
        elif FORGET.parse(message.topic) is not None:
            return self._forget(message)
        else:
            raise Rejected(f"topic {message.topic!r} names no room")
        return []

    def on_tick(self, now_s: float) -> list[Publication]:
        """Decide for every room that is due, and remove rooms that have been silent for a day."""
        publications: list[Publication] = []
        for name in [name for name, due_s in self._due_s.items() if due_s <= now_s]:
            publications += self._decide(name, now_s)
        return publications

    def _take_reading(self, name: str, message: Message, now_s: float) -> None:
        reading = READING.decode(message)
        if name not in self._rooms:
            self._admission.check(name, len(self._rooms), now_s)
        if not self._room(name, now_s).read(reading.sensor_id, reading.value, now_s):
            raise Rejected(f"room {name!r} has {MOST_SENSORS} sensors already")
        self._references.setdefault(name, {})[reading.sensor_id] = message.reference

    def _take_setpoint(self, name: str, message: Message, now_s: float) -> None:
        if not message.payload:
            self._setpoints.pop(name, None)  # removed: the default holds
            self._setpoint_references.pop(name, None)
            self._apply_setpoint(name, DEFAULT_SETPOINT_C, now_s)
            return
        celsius = SETPOINT.decode(message).celsius
        if name not in self._setpoints and len(self._setpoints) >= MOST_ROOMS:
            raise Rejected(f"there are setpoints of {MOST_ROOMS} rooms already, which is the limit")
        self._setpoints[name] = celsius
        self._setpoint_references[name] = message.reference
        self._apply_setpoint(name, celsius, now_s)

    def _apply_setpoint(self, name: str, celsius: float, now_s: float) -> None:
        room = self._rooms.get(name)
        if room is not None and room.setpoint_c != celsius:
            room.setpoint_c = celsius
            if room.decided:
                self._due_s[name] = now_s

    def _restore_state(self, name: str, message: Message, now_s: float) -> None:
        if self._is_decided(name) or not message.retain or not message.payload:
            return  # our own echo
        state = STATE.decode(message)
        known = Identified(**{field: getattr(state.identified, field) for field in _FIELDS}) if state.identified else None
        swung = state.oscillation
        oscillation = Oscillation(swung.period_s, swung.amplitude_c, swung.gain_pct_c, swung.reset_s) if swung else None
        self._room(name, now_s).restore(self._levels.get(name, state.level), known, oscillation, state.integral)

    def _restore_level(self, name: str, message: Message, now_s: float) -> None:
        if self._is_decided(name) or not message.retain or not message.payload:
            return
        self._levels[name] = level = VALVE_LEVEL.decode(message).level
        self._room(name, now_s).restore(level)

    def _is_decided(self, name: str) -> bool:
        room = self._rooms.get(name)
        return room is not None and room.decided

    def _room(self, name: str, now_s: float) -> RoomControl:
        if (room := self._rooms.get(name)) is not None:
            return room
        if len(self._rooms) >= MOST_ROOMS:
            raise Rejected(f"there are {MOST_ROOMS} rooms already, which is the limit")
        room = self._rooms[name] = RoomControl(now_s, self._setpoints.get(name, DEFAULT_SETPOINT_C))
        self._due_s[name] = now_s + FIRST_DECISION_AFTER_S
        return room

    def _decide(self, name: str, now_s: float) -> list[Publication]:
        room = self._rooms[name]
        if now_s - room.last_reading_s > REMOVED_AFTER_S:
            self._remove(name)
            return []
        self._due_s[name] = now_s + INTERVAL_S
        decision = self._name_source(name, room.decide(now_s))
        self._log_alarms(name, decision, now_s)
        publications = [STATE.publication(_state(decision), room=name)]
        if self._levels.get(name) != decision.level:
            self._levels[name] = decision.level
            publications.insert(0, VALVE_LEVEL.publication(ValveLevel(level=decision.level), room=name))
        return because(publications, *self._causes(name, decision))

    def _causes(self, name: str, decision: Decision) -> list[str]:
        """Return what a decision follows from: the latest readings of the sensors used, the setpoint, and the tick."""
        readings = self._references.get(name, {})
        used = [readings[each] for each in decision.fused.used if each in readings]
        setpoint = self._setpoint_references.get(name)
        return [*used[: MOST_CAUSES - 2], *([setpoint] if setpoint else []), TICK]

    def _forget(self, message: Message) -> list[Publication]:
        """Remove a room as if it had never been seen; it comes back with its next reading."""
        name = read_forget(message, "room")
        if name is None:
            return []
        if name in self._rooms:
            self._remove(name)
        self._setpoints.pop(name, None)
        self._setpoint_references.pop(name, None)
        return [removal(VALVE_LEVEL, name), removal(STATE, name)]

    def _name_source(self, name: str, decision: Decision) -> Decision:
        """Name the heat source where half of the rooms, and at least two, have lost their heat."""
        if Alarm.NO_HEAT not in decision.alarms:
            self._without_heat.discard(name)
            return decision
        self._without_heat.add(name)
        if len(self._without_heat) < max(FEWEST_WITHOUT_HEAT, len(self._rooms) / 2):
            return decision
        alarms = tuple([Alarm.SOURCE_OFF if each is Alarm.NO_HEAT else each for each in decision.alarms])
        return replace(decision, alarms=alarms)

    def _log_alarms(self, name: str, decision: Decision, now_s: float) -> None:
        """Log once that a room's temperature has become implausible."""
        alarm = next((each for each in decision.alarms if each in _IMPLAUSIBLE), None)
        if alarm is None:
            self._implausible.discard(name)
        elif name not in self._implausible:
            self._implausible.add(name)
            if self._logged.take(now_s):
                log.warning(
                    "room-implausible",
                    "room %(room)s has %(celsius).1f °C, which is %(alarm)s",
                    room=name,
                    celsius=decision.fused.room_c,
                    alarm=alarm.value,
                )

    def _remove(self, name: str) -> None:
        del self._rooms[name], self._due_s[name]
        self._levels.pop(name, None)
        self._references.pop(name, None)
        self._implausible.discard(name)
        self._without_heat.discard(name)


_IMPLAUSIBLE = (Alarm.TOO_HOT, Alarm.TOO_COLD)
_FIELDS = IdentifiedRoom.__struct_fields__


def _state(decision: Decision) -> HeatingState:
    room_c = decision.fused.room_c
    known = decision.identified
    return HeatingState(
        level=decision.level,
        setpoint=decision.setpoint_c,
        mode=decision.mode.value,
        temperature=None if room_c is None else round(room_c, 2),
        error=None if room_c is None else round(decision.setpoint_c - room_c, 2),
        proportional=round(decision.demand.proportional_pct, 1),
        integral=round(decision.demand.integral_pct, 1),
        sensors_used=decision.fused.used,
        sensors_left_out={name: reason.value for name, reason in sorted(decision.fused.left_out.items())},
        alarms=tuple(alarm.value for alarm in decision.alarms),
        identified=IdentifiedRoom(**_rounded(known)) if known else None,
        oscillation=DampedOscillation(**_rounded(decision.oscillation)) if decision.oscillation else None,
    )


def _rounded(values: Identified | Oscillation) -> dict[str, Any]:
    return {name: None if value is None else round(value, 2) for name, value in asdict(values).items()}
