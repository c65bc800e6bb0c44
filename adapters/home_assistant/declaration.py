"""Declaration of the Home Assistant adapter: its streams and its setting."""

from broker.contract.charging.topics import STATE as CHARGER
from broker.contract.components.topics import FORGET
from broker.contract.components.topics import STATE as COMPONENT
from broker.contract.energy.topics import INTERVAL
from broker.contract.heating.topics import STATE as ROOM
from broker.contract.home_assistant.topics import ENTITY, SHIP_TOTAL
from broker.contract.machines.topics import AVERAGE
from broker.contract.storage.topics import ANSWER, QUERY
from broker.runtime.declaration import Declaration, Variable

NAME = "home-assistant"
ANSWER_TOPIC = ANSWER.template.topic(client=NAME)
RECORDER_TOPIC = COMPONENT.template.topic(component="recorder")

HOME_ASSISTANT = Variable(
    name="SCAUP_HOME_ASSISTANT",
    default="",
    meaning="`yes` announces rooms, machines, chargers and energy to Home Assistant, `no` does not",
)

DECLARATION = Declaration(
    name=NAME,
    summary="announces what is here to Home Assistant",
    subscribes=(ROOM, AVERAGE, CHARGER, INTERVAL, ENTITY, SHIP_TOTAL, FORGET),
    subscribes_also=(RECORDER_TOPIC, ANSWER_TOPIC),
    publishes=(ENTITY, SHIP_TOTAL, QUERY),
    session_s=600,
    wall_tick_s=1.0,
    max_queued=100_000,
    variables=(HOME_ASSISTANT,),
    starts_where=HOME_ASSISTANT,
)
