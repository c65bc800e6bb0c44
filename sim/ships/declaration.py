"""What the simulated ships do on the bus."""

from broker.contract.energy import RAW
from broker.declaration import Declaration

DECLARATION = Declaration(
    name="sim-ships",
    summary="simulated ships that post their energy use in different units and intervals",
    publishes=(RAW,),
    tick_s=60.0,
)
