"""Every topic that Scaup speaks: one module per system, one `Stream` per row of the README's topic table."""

from broker.contract import charging, components, energy, fastening, heating, machines, storage
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
