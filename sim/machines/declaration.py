"""Declaration of the simulated machines."""

from broker.contract.machines.topics import READING, STATUS
from broker.runtime.declaration import Declaration

DECLARATION = Declaration(
    name="sim-machines",
    summary="simulated machines: temperature, fan, job status",
    subscribes=(STATUS,),
    publishes=(READING,),
    tick_s=1.0,
    session_s=3600,
)
