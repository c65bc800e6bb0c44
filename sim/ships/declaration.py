"""Declaration of the simulated ships."""

from broker.contract.components.topics import STATE
from broker.contract.energy.topics import RAW
from broker.contract.storage.topics import ANSWER, QUERY
from broker.runtime.declaration import Declaration

DECLARATION = Declaration(
    name="sim-ships",
    summary="simulated ships that post their energy use",
    is_plant=True,
    subscribes_also=(ANSWER.template.topic(client="sim-ships"), STATE.template.topic(component="recorder")),
    publishes=(RAW, QUERY),
    tick_s=60.0,
)
