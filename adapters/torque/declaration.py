"""The torque adapter's declaration: its topics and settings."""

from broker.contract.fastening.topics import COMMAND, LINK, TORQUE_EVENT
from broker.runtime.declaration import Declaration, Variable

DRIVER_URL = Variable(
    name="SCAUP_TORQUE_DRIVER_URL",
    default="ws://127.0.0.1:9600",
    meaning="websocket of the torque driver `driver-1`, or several as `name=url,name=url`",
    container="${SCAUP_TORQUE_DRIVER_URL:-ws://sim-torque-driver:${SCAUP_SIM_TORQUE_PORT:-9600}}",
)

DECLARATION = Declaration(
    name="torque-adapter",
    summary="connects torque drivers with the bus",
    subscribes=(COMMAND,),
    publishes=(TORQUE_EVENT, LINK),
    variables=(DRIVER_URL,),
)
