"""Declaration of the energy normalizer."""

from broker.contract.components.topics import FORGET, STATE
from broker.contract.energy.topics import ANOMALY, ANSWER, INTERVAL, RAW
from broker.contract.storage.topics import QUERY
from broker.runtime.declaration import Declaration
from controllers.energy.history import ANSWER_TOPIC

DECLARATION = Declaration(
    name="energy",
    summary="turns consumption data into kWh per quarter hour",
    subscribes=(RAW, FORGET),
    subscribes_also=(ANSWER_TOPIC, STATE.template.topic(component="recorder")),
    session_s=3600,
    publishes=(INTERVAL, ANOMALY, ANSWER, QUERY),
    wall_tick_s=0.5,
    takes_history=True,
)
