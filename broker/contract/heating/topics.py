"""Heating: rooms, sensors, valves. The topics with a leading slash and their payloads are given from outside."""

from typing import Annotated, Literal

import msgspec

from broker.mqtt.topics import TopicTemplate
from broker.stream import AnyStream, Stream

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]

LOWEST_SETPOINT_C, HIGHEST_SETPOINT_C = 5.0, 35.0

Finite = Annotated[float, msgspec.Meta(gt=-1e9, lt=1e9)]


class TemperatureReading(msgspec.Struct, frozen=True):
    """One reading of one sensor, in °C."""

    sensor_id: Name = msgspec.field(name="sensorID")
    type: Literal["temperature"]
    value: float


class ValveLevel(msgspec.Struct, frozen=True):
    """Valve opening in percent: 0 is closed, 100 is open."""

    level: Annotated[int, msgspec.Meta(ge=0, le=100)]


class Setpoint(msgspec.Struct, frozen=True):
    """Wanted room temperature, 5 to 35 °C."""

    celsius: Annotated[float, msgspec.Meta(ge=LOWEST_SETPOINT_C, le=HIGHEST_SETPOINT_C)]


class IdentifiedRoom(msgspec.Struct, frozen=True):
    """What the controller has learned about a room; a restarted controller goes on from it."""

    rate_c_h: Finite
    """Rise of the room temperature at full heat if nothing were lost, K/h."""
    radiator_lag_s: Finite
    """From valve level to heat given: time constant, s."""
    transport_s: Finite
    """From valve level to the radiator: time constant, s."""
    hold_pct: Finite
    """Valve level that would hold the setpoint as things are; may lie outside 0..100."""


class HeatingState(msgspec.Struct, frozen=True, kw_only=True):
    """Why the valve stands where it stands."""

    level: Annotated[int, msgspec.Meta(ge=0, le=100)]
    """Valve opening, percent."""
    setpoint: float
    """°C."""
    mode: str
    """`heating`, `window open`, `frost protection`, `holding` or `safe`."""
    temperature: float | None = None
    """Fused from the sensors used, °C; null without a sensor to trust."""
    error: float | None = None
    """Setpoint less temperature, K."""
    proportional: float = 0.0
    """Part of the wanted level that answers to the remaining error, percent."""
    integral: float = 0.0
    """Part of the wanted level that holds the setpoint, percent."""
    sensors_used: tuple[str, ...] = ()
    sensors_left_out: dict[str, str] = {}
    """Sensor → `stale`, `stuck`, `out of range`, `far from the others` or `jumping`."""
    alarms: tuple[str, ...] = ()
    identified: IdentifiedRoom | None = None


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

OPERATOR_STREAMS: tuple[AnyStream, ...] = (SETPOINT,)
"""What the operator may publish, with the command line."""

DEVICE_FILTERS = ("/readings/#",)
"""What a device may publish without an account."""
