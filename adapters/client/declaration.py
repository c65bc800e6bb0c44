"""What the command line does on the bus: it acts with the operator's account and is not a running component."""

from broker.contract import DEVICE_FILTERS, replay
from broker.contract.fastening import topics as fastening
from broker.contract.heating import topics as heating
from broker.contract.storage import topics as storage
from broker.runtime.declaration import Declaration

OPERATOR = Declaration(
    name="operator",
    summary="the command line's account",
    publishes=(heating.SETPOINT, fastening.REQUEST, storage.QUERY, storage.REQUEST),
    publishes_also=(f"{replay.PREFIX}#", *DEVICE_FILTERS),  # `scaup replay`: to the original topics only where a device may
)
