"""What the simulated chargers and widgets are; they speak on websockets and not on the bus."""

from broker.runtime.declaration import Declaration, Variable

HOST = Variable(
    name="SCAUP_SIM_CHARGER_HOST",
    default="127.0.0.1",
    meaning="host of the charger adapter, for the simulated chargers and widgets",
)

DECLARATION = Declaration(
    name="sim-chargers",
    summary="simulated chargers with customers and widgets",
    variables=(HOST,),
)
