"""Heating: rooms, sensors and valves. The topics with a leading slash and their payloads are fixed by the devices."""

from typing import Annotated, Literal

import msgspec

from broker.mqtt.topics import TopicTemplate
from broker.stream import AnyStream, Stream

LONGEST_NAME = 256
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME)]

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
    """Wanted room temperature, 5 to 35 °C.

    The range is checked wherever this payload is decoded: the heating controller rejects a message outside it, and the command
    line refuses such an argument.
    """

    celsius: Annotated[float, msgspec.Meta(ge=LOWEST_SETPOINT_C, le=HIGHEST_SETPOINT_C)]


class IdentifiedRoom(msgspec.Struct, frozen=True):
    """The model of a room that the controller has learned; a restarted controller continues from it."""

    rate_c_h: Finite
    """Rise of the room temperature at full heat without losses, K/h."""
    radiator_lag_s: Finite
    """Time constant from valve level to emitted heat, s."""
    transport_s: Finite
    """Dead time from valve level to the radiator, s."""
    hold_pct: Finite
    """Valve level that would hold the setpoint under present conditions, percent; may be outside 0..100."""
    valve_curve: Finite | None = None
    """Exponent k of the valve curve (exp(k u) - 1) / (exp(k) - 1): 0 is linear, above 0 equal percentage, below 0 quick
    opening. Null in states of earlier versions."""


class DampedOscillation(msgspec.Struct, frozen=True):
    """A sustained oscillation that was measured, and the PI law that replaced the model's; a restarted controller keeps it."""

    period_s: Finite
    amplitude_c: Finite
    """Half of the difference between highest and lowest temperature, K."""
    gain_pct_c: Finite
    """Gain of the PI law, percent of level per K."""
    reset_s: Finite
    """Reset time of the PI law, s."""


class HeatingState(msgspec.Struct, frozen=True, kw_only=True):
    """State of a room's control: the valve level and everything that led to it."""

    level: Annotated[int, msgspec.Meta(ge=0, le=100)]
    """Valve opening, percent."""
    setpoint: float
    """°C."""
    mode: str
    """`heating`, `window open`, `frost protection`, `holding` or `safe`."""
    temperature: float | None = None
    """Fused from the sensors used, °C; null without a trusted sensor."""
    error: float | None = None
    """Setpoint minus temperature, K."""
    proportional: float = 0.0
    """Part of the level that responds to the remaining error, percent."""
    integral: float = 0.0
    """Part of the level that holds the setpoint, percent."""
    sensors_used: tuple[str, ...] = ()
    sensors_left_out: dict[str, str] = {}
    """Sensor → `stale`, `stuck`, `out of range`, `far from the others` or `jumping`."""
    alarms: tuple[str, ...] = ()
    identified: IdentifiedRoom | None = None
    oscillation: DampedOscillation | None = None
    """Set while the room is held by a damped PI law, after an oscillation."""


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
"""Operators may publish these."""

DEVICE_FILTERS = ("/readings/#",)
"""Devices may publish these without an account."""

DEVICE_PUBLISHES, DEVICE_RECEIVES = ("/readings/{name}/#",), ("/actuators/{name}",)
"""A device with the account `name` may publish these, and read these."""

THINGS: dict[str, tuple[AnyStream, ...]] = {"room": (VALVE_LEVEL, SETPOINT, STATE, READING)}
"""What can be forgotten, and the streams that may have retained messages of it."""
