"""Declaration of the operator: the account of the command line, which is no running component."""

from broker.contract import DEVICE_FILTERS, OPERATOR_STREAMS, replay
from broker.runtime.declaration import Declaration

OPERATOR = Declaration(
    name="operator",
    summary="the command line's account",
    publishes=OPERATOR_STREAMS,
    publishes_also=(f"{replay.PREFIX}#", *DEVICE_FILTERS),  # `scaup replay`: to the original topics only where a device may
)
