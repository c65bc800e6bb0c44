"""What the simulated chargers and widgets are; they speak on websockets and not on the bus."""

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
    variables=(HOST,),
)

STAND_INS = {
    "sim-charger": ("sim.chargers.charger_by_hand", "one charger by hand: pick its state of charge"),
    "sim-widget": ("sim.chargers.widget_by_hand", "one widget by hand: see its LED"),
}
"""Interactive programs for `scaup run`: their module, and what they do."""
