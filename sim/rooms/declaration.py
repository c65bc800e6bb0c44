"""Declaration of the simulated rooms."""

from broker.contract.heating.topics import READING, VALVE_LEVEL
from broker.runtime.declaration import Declaration

DECLARATION = Declaration(
    name="sim-rooms",
    summary="simulated rooms, each a radiator and five sensors",
    is_plant=True,
    subscribes=(VALVE_LEVEL,),
    publishes=(READING,),
    tick_s=5.0,
)
