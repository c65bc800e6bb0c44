"""Declaration of the simulated ships."""

from broker.contract.energy.topics import RAW
from broker.runtime.declaration import Declaration

DECLARATION = Declaration(
    name="sim-ships",
    summary="simulated ships that post their energy use",
    publishes=(RAW,),
    tick_s=60.0,
)
