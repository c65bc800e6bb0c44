"""Declaration of the simulated torque drivers, which use websockets and not the bus."""

from broker.runtime.declaration import Declaration, Variable

PORT = Variable(name="SCAUP_SIM_TORQUE_PORT", default="9600", meaning="port of the simulated torque drivers")

DECLARATION = Declaration(
    name="sim-torque-driver",
    summary="simulated torque drivers, one per connection",
    is_plant=True,
    variables=(PORT,),
    listens=(PORT,),
    publishes_ports=False,
)
