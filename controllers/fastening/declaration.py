"""Declaration of the fastening controller."""

from broker.contract.components.topics import FORGET, STATE
from broker.contract.fastening.topics import ANSWER, CATALOG, COMMAND, EVENT, JOB, LINK, REQUEST, TORQUE_EVENT
from broker.runtime.declaration import Declaration, Variable

CATALOG_FOLDER = Variable(
    name="SCAUP_TORQUE_CATALOG",
    default="",
    meaning="folder with serials.json, parts.json and steps.json; empty: the shipped ones",
    container="/catalog",
    shipped="controllers/fastening/catalog",
    mount="/catalog",
)
RESPONSE_TIMEOUT = Variable(
    name="SCAUP_TORQUE_TIMEOUT_S",
    default="60",
    meaning="wall seconds after which a torque driver without an operation is reported silent",
)

ADAPTER_STATE = STATE.template.topic(component="torque-adapter")

DECLARATION = Declaration(
    name="fastening",
    summary="guides torque drivers through jobs, screw by screw",
    subscribes=(REQUEST, TORQUE_EVENT, LINK, JOB, FORGET),
    subscribes_also=(ADAPTER_STATE,),
    session_s=3600,
    publishes=(COMMAND, EVENT, JOB, ANSWER, CATALOG),
    publishes_also=(LINK.template.filter,),  # removes that of a forgotten driver
    wall_tick_s=0.5,
    variables=(CATALOG_FOLDER, RESPONSE_TIMEOUT),
)
