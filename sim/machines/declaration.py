"""Declaration of the simulated machines."""

from broker.contract.components.topics import STATE
from broker.contract.machines.topics import READING, STATUS
from broker.contract.storage.topics import ANSWER, QUERY
from broker.runtime.declaration import Declaration

DECLARATION = Declaration(
    name="sim-machines",
    summary="simulated machines: temperature, fan, job status",
    is_plant=True,
    subscribes=(STATUS,),
    subscribes_also=(ANSWER.template.topic(client="sim-machines"), STATE.template.topic(component="recorder")),
    publishes=(READING, QUERY),
    tick_s=1.0,
    session_s=3600,
)
