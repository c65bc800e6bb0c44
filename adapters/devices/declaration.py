"""Declaration of the component that joins declared devices."""

from broker.contract.components.topics import STATE as PRESENCE
from broker.contract.devices.topics import ACCESS, STATE
from broker.contract.heating import topics as heating
from broker.contract.storage import topics as storage
from broker.runtime.declaration import Declaration, Variable

NAME = "devices"
ANSWER_TOPIC = storage.ANSWER.template.topic(client=NAME)
RECORDER_TOPIC = PRESENCE.template.topic(component="recorder")

FOLDER = Variable(
    name="SCAUP_DEVICES",
    default="",
    meaning="folder of device declarations, `*.toml`; empty: `devices` in the data directory",
    container="/devices",
    shipped="var/devices",
    mount="/devices",
)
SESSION_S = 14 * 24 * 3600

DECLARATION = Declaration(
    name=NAME,
    summary="joins devices that speak other topics",
    publishes=(STATE, ACCESS, storage.QUERY, storage.CANCEL, storage.REQUEST),
    reads=(
        ANSWER_TOPIC,
        RECORDER_TOPIC,
        heating.VALVE_LEVEL.template.filter,
        heating.STATE.template.filter,
    ),
    session_s=SESSION_S,
    receive_maximum=10_000,
    max_queued=100_000,
    wall_tick_s=1.0,
    variables=(FOLDER,),
)
