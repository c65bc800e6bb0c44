"""Heating: rooms, sensors, valves. The topics with a leading slash and their payloads are given from outside."""

from typing import Annotated

import msgspec

from broker.stream import AnyStream, Stream
from broker.topics import TopicTemplate

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class TemperatureReading(msgspec.Struct, frozen=True):
    """One reading of one sensor, in °C."""

    sensor_id: Name = msgspec.field(name="sensorID")
    type: str
    value: float


class ValveLevel(msgspec.Struct, frozen=True):
    """Valve opening in percent: 0 is closed, 100 is open."""

    level: Annotated[int, msgspec.Meta(ge=0, le=100)]


class Setpoint(msgspec.Struct, frozen=True):
    """Wanted room temperature in °C."""

    celsius: float


class HeatingState(msgspec.Struct, frozen=True):
    """Why the valve stands where it stands."""

    level: int
    setpoint: float


READING = Stream(
    template=TopicTemplate("/readings/{room}/temperature"),
    payload=TemperatureReading,
    summary="sensors → heating",
    plant=True,
)
VALVE_LEVEL = Stream(
    template=TopicTemplate("/actuators/{room}"),
    payload=ValveLevel,
    summary="heating → radiator",
    retain=True,
    plant=True,
)
SETPOINT = Stream(
    template=TopicTemplate("heating/{room}/setpoint"),
    payload=Setpoint,
    summary="operator → heating",
    retain=True,
)
STATE = Stream(
    template=TopicTemplate("heating/{room}/state"),
    payload=HeatingState,
    summary="heating → all",
    retain=True,
    plant=True,
)
STREAMS: tuple[AnyStream, ...] = (READING, VALVE_LEVEL, SETPOINT, STATE)
