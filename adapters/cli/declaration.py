"""What the command line does on the bus: it acts with the operator's account and is not a running component."""

from broker.contract import heating, storage
from broker.declaration import Declaration

OPERATOR = Declaration(
    name="operator",
    summary="the command line's account",
    publishes=(heating.SETPOINT, storage.QUERY),
)
