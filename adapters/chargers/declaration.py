"""The charger adapter's declaration: its topics and settings."""

from broker.contract.charging.topics import (
    ANSWER,
    CHARGE_POINT,
    CHARGER_LINK,
    OCPP,
    PAIRS,
    REMOTE,
    SESSION,
    SOC,
    STATUS,
    WIDGET_LINK,
)
from broker.runtime.declaration import Address, Declaration, Variable

CHARGER_PORT = Variable(name="SCAUP_CHARGER_PORT", default="3100", meaning="websocket port for chargers")
WIDGET_PORT = Variable(name="SCAUP_WIDGET_PORT", default="3200", meaning="websocket port for widgets")
PROCESSES = Variable(
    name="SCAUP_CHARGER_PROCESSES",
    default="1",
    meaning="how many charger adapters share these ports; the second is `scaup run charger-adapter --number 2`",
)
TAGS = Variable(
    name="SCAUP_CHARGER_TAGS",
    default="",
    meaning="file with the id tags that may charge at OCPP chargers, one in each line; empty: every tag",
    container="${SCAUP_CHARGER_TAGS:+/tags.txt}",
    shipped="adapters/chargers/ocpp/tags.txt",
    mount="/tags.txt",
)
MOST_PROCESSES = 8

DECLARATION = Declaration(
    name="charger-adapter",
    summary="connects chargers and widgets with the bus",
    subscribes=(PAIRS, STATUS, CHARGER_LINK, WIDGET_LINK, CHARGE_POINT, REMOTE),
    publishes=(SOC, CHARGER_LINK, WIDGET_LINK, OCPP, CHARGE_POINT, SESSION, ANSWER),
    max_queued=100_000,
    processes=MOST_PROCESSES,
    variables=(CHARGER_PORT, WIDGET_PORT, PROCESSES, TAGS),
    listens=(CHARGER_PORT, WIDGET_PORT),
    addresses=(
        Address("ws://{host}:{SCAUP_CHARGER_PORT}/chargers/{id}", "websocket for charger {id}"),
        Address("ws://{host}:{SCAUP_CHARGER_PORT}/ocpp/{id}", "OCPP 1.6J and 2.0.1 for charger {id}"),
        Address("ws://{host}:{SCAUP_WIDGET_PORT}/widgets/{id}", "websocket for widget {id}"),
    ),
)
