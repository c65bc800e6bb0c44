"""The simulated pump on the bus."""

from broker.contract.pumps.topics import FLOW, LIMIT, Flow
from broker.message import Message, Publication


class SimulatedPump:
    """A pump that delivers as much as it may."""

    def __init__(self) -> None:
        self._litres_per_min = 12.5

    def on_message(self, message: Message, now_s: float) -> list[Publication]:  # noqa: ARG002
        """Take a new limit."""
        self._litres_per_min = LIMIT.decode(message).litres_per_min
        return []

    def on_tick(self, now_s: float) -> list[Publication]:  # noqa: ARG002
        """Publish the flow."""
        return [FLOW.publication(Flow(self._litres_per_min), id="p1")]
