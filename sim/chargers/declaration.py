"""Declaration of the simulated chargers and widgets, which use websockets and not the bus."""

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
    "sim-charger": ("sim.chargers.interactive_charger", "an interactive charger: pick its state of charge"),
    "sim-widget": ("sim.chargers.interactive_widget", "an interactive widget: see its LED"),
}
"""Interactive programs for `scaup run`: module and summary."""
