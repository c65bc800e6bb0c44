"""Declaration of the energy API: its streams and its settings."""

from broker.contract.energy import topics as energy
from broker.contract.storage import topics as storage
from broker.runtime.declaration import Address, Declaration, Variable

PORT = Variable(name="SCAUP_ENERGY_API_PORT", default="8000", meaning="HTTP port of the energy API")
CLIENT = "energy-api"
STORED_TOPIC = energy.ANSWER.template.topic(client=CLIENT)
"""Topic of the normalizer's answers to posts."""
RECORDED_TOPIC = storage.ANSWER.template.topic(client=CLIENT)
"""Topic of the recorder's answers to queries."""

DECLARATION = Declaration(
    name=CLIENT,
    summary="energy over HTTP: consumption in, quarters out",
    subscribes_also=(STORED_TOPIC, RECORDED_TOPIC),
    publishes=(energy.RAW, storage.QUERY, storage.CANCEL),
    variables=(PORT,),
    listens=(PORT,),
    addresses=(Address("http://{host}:{SCAUP_ENERGY_API_PORT}/docs", "energy over HTTP"),),
)
