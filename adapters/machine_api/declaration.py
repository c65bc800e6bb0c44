"""Declaration of the machine API: its streams and its settings."""

from broker.contract.components.topics import FORGET
from broker.contract.machines.topics import AVERAGE, READING, STATUS
from broker.runtime.declaration import Address, Declaration, Variable

PORT = Variable(name="SCAUP_MACHINE_API_PORT", default="5000", meaning="HTTP port of the machine API")

DECLARATION = Declaration(
    name="machine-api",
    summary="machines over HTTP: readings, averages, job status",
    subscribes=(READING, AVERAGE, FORGET),
    publishes=(STATUS,),
    variables=(PORT,),
    listens=(PORT,),
    addresses=(
        Address("http://{host}:{SCAUP_MACHINE_API_PORT}/data?id=1", "machine 1: its latest reading and averages"),
        Address("http://{host}:{SCAUP_MACHINE_API_PORT}/docs", "machines over HTTP"),
    ),
)
