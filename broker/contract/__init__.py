"""Every topic that Scaup speaks: one module per system, one `Stream` per row of the README's topic table."""

from broker.contract.charging import topics as charging
from broker.contract.components import topics as components
from broker.contract.energy import topics as energy
from broker.contract.fastening import topics as fastening
from broker.contract.heating import topics as heating
from broker.contract.machines import topics as machines
from broker.contract.storage import topics as storage
from broker.stream import AnyStream

STREAMS: tuple[AnyStream, ...] = (
    *heating.STREAMS,
    *fastening.STREAMS,
    *machines.STREAMS,
    *charging.STREAMS,
    *energy.STREAMS,
    *storage.STREAMS,
    *components.STREAMS,
)

DEVICE_FILTERS = ("/readings/#", "machines/+/reading", "machines/+/status", "energy/+/raw")
"""What a device may publish on the loopback listener without an account."""
