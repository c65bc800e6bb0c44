"""Declaration of the heating controller."""

from broker.contract.components.topics import FORGET
from broker.contract.heating.topics import READING, SETPOINT, STATE, VALVE_LEVEL
from broker.runtime.declaration import Declaration

DECLARATION = Declaration(
    name="heating",
    summary="holds every room with readings at its setpoint",
    subscribes=(READING, SETPOINT, STATE, VALVE_LEVEL, FORGET),
    publishes=(VALVE_LEVEL, STATE),
    tick_s=10.0,
)
