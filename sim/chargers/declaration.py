"""Declaration of the simulated chargers and widgets, which use websockets; only their past goes to the bus."""

from broker.contract.charging.topics import SESSION
from broker.contract.components.topics import STATE
from broker.contract.storage.topics import ANSWER, QUERY
from broker.runtime.declaration import Declaration, Variable

HOST = Variable(
    name="SCAUP_SIM_CHARGER_HOST",
    default="127.0.0.1",
    meaning="host of the charger adapter, for the simulated chargers and widgets",
    container="charger-adapter",
)

DECLARATION = Declaration(
    name="sim-chargers",
    summary="simulated chargers with customers and widgets",
    is_plant=True,
    subscribes_also=(ANSWER.template.topic(client="sim-chargers"), STATE.template.topic(component="recorder")),
    publishes=(QUERY,),
    publishes_also=(SESSION.template.filter,),
    variables=(HOST,),
)

STAND_INS = {
    "sim-charger": ("sim.chargers.interactive_charger", "an interactive charger: pick its state of charge"),
    "sim-widget": ("sim.chargers.interactive_widget", "an interactive widget: see its LED"),
}
"""Interactive programs for `scaup run`: module and summary."""
