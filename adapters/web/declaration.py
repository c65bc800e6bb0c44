"""Declaration of the web component: its streams and its settings."""

from broker.contract.charging import topics as charging
from broker.contract.components.topics import REJECTED, STATE, WARNING
from broker.contract.energy import topics as energy
from broker.contract.fastening import topics as fastening
from broker.contract.heating import topics as heating
from broker.contract.roles import Role
from broker.contract.storage import topics as storage
from broker.runtime.declaration import Address, Declaration, Variable

PORT = Variable(name="SCAUP_WEB_PORT", default="8080", meaning="HTTP port of the web page, /health and /metrics")
CLIENT = "web"
RECORDED_TOPIC = storage.ANSWER.template.topic(client=CLIENT)
"""Topic of the recorder's answers to queries."""
SYSTEM_STREAMS = (
    heating.STATE,
    charging.STATE,
    charging.SESSION,
    energy.INTERVAL,
    energy.ANOMALY,
    fastening.EVENT,
    fastening.LINK,
)
"""What controllers report. Readings are not among them: there may be thousands a second."""
BROKER_FILTERS = tuple(
    f"$SYS/broker/{each}"
    for each in (
        "+",
        "bytes/+",
        "clients/+",
        "messages/+",
        "publish/messages/+",
        "retained messages/count",
        "store/messages/+",
        "subscriptions/count",
    )
)

DECLARATION = Declaration(
    name=CLIENT,
    summary="the web page, health and metrics of the whole system",
    subscribes=(STATE, WARNING, REJECTED, storage.STATS, *SYSTEM_STREAMS),
    subscribes_also=(RECORDED_TOPIC, *BROKER_FILTERS),
    publishes=(storage.QUERY, storage.CANCEL),
    role=Role.VIEWER,
    variables=(PORT,),
    listens=(PORT,),
    addresses=(
        Address("http://{host}:{SCAUP_WEB_PORT}", "the web page"),
        Address("http://{host}:{SCAUP_WEB_PORT}/health", "whether all of it works"),
        Address("http://{host}:{SCAUP_WEB_PORT}/metrics", "figures for Prometheus"),
    ),
)
