"""Simulated rooms on the bus: valve levels in, sensor readings out."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from broker.contract.heating.topics import READING, VALVE_LEVEL, TemperatureReading
from broker.errors import Rejected
from broker.message import Message, Publication
from sim.rooms.model import FIXED_ROOMS, Room, random_room
from sim.rooms.sensors import Fault, Sensor, random_sensors

READING_INTERVAL_S = 60.0


@dataclass(frozen=True, slots=True)
class Household:
    """The rooms to simulate: the first three are always the same, the others differ by seed."""

    rooms: int = 1
    seed: int = 1
    faults: tuple[Fault, ...] = ()
    """Given to the first sensors of every room."""


class SimulatedRoom:
    """One room with its sensors."""

    __slots__ = ("_due_s", "_now_s", "name", "room", "sensors")

    def __init__(self, name: str, room: Room, sensors: tuple[Sensor, ...], now_s: float, first_reading_s: float) -> None:
        self.name, self.room, self.sensors = name, room, sensors
        self._now_s, self._due_s = now_s, now_s + first_reading_s

    def readings(self, now_s: float) -> list[tuple[str, float]]:
        """Advance to `now_s`; return the readings (sensor name, °C) that are due."""
        if now_s < self._due_s:
            return []
        dt_s, self._now_s = now_s - self._now_s, now_s
        self._due_s += READING_INTERVAL_S
        if self._due_s <= now_s:  # missed readings are not made up for
            self._due_s = now_s + READING_INTERVAL_S
        self.room.step(dt_s)
        reported = []
        for sensor in self.sensors:
            sensor.step(dt_s)
            if (value_c := sensor.read(self.room.air_c)) is not None:
                reported.append((sensor.parameters.name, value_c))
        return reported


class SimulatedRooms:
    """Sans-I/O component: every room reports once a plant minute, spread over that minute."""

    def __init__(self, household: Household) -> None:
        self._household = household
        self._rooms: dict[str, SimulatedRoom] = {}

    def on_message(self, message: Message, now_s: float) -> list[Publication]:
        """Set a valve; levels of rooms that are simulated elsewhere are ignored.

        Raises:
            Rejected: the topic names no room, or the payload is no level.
        """
        levels = VALVE_LEVEL.parse(message.topic)
        if levels is None:
            raise Rejected(f"topic {message.topic!r} names no room")
        if not message.payload:
            return []  # the controller has forgotten the room
        level = VALVE_LEVEL.decode(message).level
        self._begin(now_s)
        if (simulated := self._rooms.get(levels["room"])) is not None:
            simulated.room.level_pct = level
        return []

    def on_tick(self, now_s: float) -> list[Publication]:
        """Advance the rooms whose readings are due, and publish these."""
        self._begin(now_s)
        return [
            READING.publication(TemperatureReading(sensor_id=sensor, type="temperature", value=value_c), room=each.name)
            for each in self._rooms.values()
            for sensor, value_c in each.readings(now_s)
        ]

    def true_temperatures(self) -> Mapping[str, float]:
        """Return the true temperature of every room, °C: for tests and benches, never on the bus."""
        return {name: each.room.air_c for name, each in self._rooms.items()}

    def _begin(self, now_s: float) -> None:
        if self._rooms:
            return
        count = max(1, self._household.rooms)
        for number in range(1, count + 1):
            simulated = _simulated(number, self._household, now_s, READING_INTERVAL_S * (number - 1) / count)
            self._rooms[simulated.name] = simulated


def _simulated(number: int, household: Household, now_s: float, first_reading_s: float) -> SimulatedRoom:
    seed = zlib.crc32(f"{household.seed}/{number}".encode())
    room = Room(FIXED_ROOMS[number - 1] if number <= len(FIXED_ROOMS) else random_room(seed), seed)
    sensors = tuple(Sensor(each, seed) for each in random_sensors(seed, household.faults))
    return SimulatedRoom(f"room-{number}", room, sensors, now_s, first_reading_s)
