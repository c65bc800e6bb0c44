"""Declaration of the simulated pump."""

from broker.contract.pumps.topics import FLOW, LIMIT
from broker.runtime.declaration import Declaration

DECLARATION = Declaration(name="sim-pumps", summary="one simulated pump", subscribes=(LIMIT,), publishes=(FLOW,), tick_s=0.2)
