"""Declaration of the operator: the account of the command line, which is no running component."""

from adapters.client.session import ACCOUNT
from broker.contract import admin_streams, device_filters, operator_streams, replay
from broker.contract.roles import Role, free_answers
from broker.runtime.declaration import Declaration

OPERATOR = Declaration(
    name=ACCOUNT,
    summary="the command line's account",
    role=Role.ADMIN,
    reads=free_answers(),  # the machine's own account: its clients may choose any name for their answers
    publishes=(*operator_streams(), *admin_streams()),
    publishes_also=(f"{replay.PREFIX}#", *device_filters()),  # `scaup replay`: to the original topics only where a device may
)
