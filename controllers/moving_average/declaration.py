"""Declaration of the moving average."""

from broker.contract.components.topics import FORGET
from broker.contract.machines.topics import AVERAGE, READING
from broker.contract.storage.topics import QUERY
from broker.runtime.declaration import Declaration, Variable
from controllers.moving_average.warm_start import ANSWER_TOPIC, RECORDER_TOPIC

WINDOW = Variable(name="SCAUP_AVERAGE_WINDOW", default="5", meaning="number of readings of a machine that are averaged")
FIELDS = Variable(
    name="SCAUP_AVERAGE_FIELDS",
    default="temperature,fan_speed",
    meaning="comma-separated fields of a reading to average; `pressure` becomes average_pressure, `pressure=p` becomes p",
)

DECLARATION = Declaration(
    name="moving-average",
    summary="averages the last readings of each machine",
    subscribes=(READING, FORGET),
    subscribes_also=(ANSWER_TOPIC, RECORDER_TOPIC),
    publishes=(AVERAGE, QUERY),
    wall_tick_s=0.5,
    variables=(WINDOW, FIELDS),
)
