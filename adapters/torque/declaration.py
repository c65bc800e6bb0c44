"""The torque adapter's declaration: its topics and settings."""

from broker.contract.components.topics import STATE
from broker.contract.fastening.topics import COMMAND, LINK, TORQUE_EVENT
from broker.contract.storage import topics as storage
from broker.runtime.declaration import Declaration, Variable

DRIVER_URL = Variable(
    name="SCAUP_TORQUE_DRIVER_URL",
    default="ws://127.0.0.1:9600",
    meaning="torque driver `driver-1`, `ws://…` or `openprotocol://host`, or several as `name=url,name=url`",
    container="${SCAUP_TORQUE_DRIVER_URL:-ws://sim-torque-driver:${SCAUP_SIM_TORQUE_PORT:-9600}}",
)

NAME = "torque-adapter"
RECORDED_TOPIC = storage.ANSWER.template.topic(client=NAME)
"""Topic of the recorder's answers to queries."""
RECORDER_TOPIC = STATE.template.topic(component="recorder")
"""Topic of the recorder's presence."""

DECLARATION = Declaration(
    name=NAME,
    summary="connects torque drivers with the bus",
    subscribes=(COMMAND,),
    subscribes_also=(RECORDED_TOPIC, RECORDER_TOPIC),
    publishes=(TORQUE_EVENT, LINK, storage.QUERY, storage.CANCEL),
    variables=(DRIVER_URL,),
)
