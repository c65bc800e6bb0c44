"""The charger adapter's declaration: its topics and settings."""

from broker.contract.charging.topics import CHARGER_LINK, PAIRS, SOC, STATUS, WIDGET_LINK
from broker.runtime.declaration import Address, Declaration, Variable

CHARGER_PORT = Variable(name="SCAUP_CHARGER_PORT", default="3100", meaning="websocket port for chargers")
WIDGET_PORT = Variable(name="SCAUP_WIDGET_PORT", default="3200", meaning="websocket port for widgets")
PROCESSES = Variable(
    name="SCAUP_CHARGER_PROCESSES",
    default="1",
    meaning="how many charger adapters share these ports; the second is `scaup run charger-adapter --number 2`",
)
MOST_PROCESSES = 8

DECLARATION = Declaration(
    name="charger-adapter",
    summary="connects chargers and widgets with the bus",
    subscribes=(PAIRS, STATUS, CHARGER_LINK, WIDGET_LINK),
    publishes=(SOC, CHARGER_LINK, WIDGET_LINK),
    max_queued=100_000,
    processes=MOST_PROCESSES,
    variables=(CHARGER_PORT, WIDGET_PORT, PROCESSES),
    listens=(CHARGER_PORT, WIDGET_PORT),
    addresses=(
        Address("ws://{host}:{SCAUP_CHARGER_PORT}/chargers/{id}", "websocket for charger {id}"),
        Address("ws://{host}:{SCAUP_WIDGET_PORT}/widgets/{id}", "websocket for widget {id}"),
    ),
)
