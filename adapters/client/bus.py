"""What a command needs of the bus: to ask, to listen and to speak, one step after the other."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from broker.message import Publication


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One received message; `at` is the wall time at which it was read."""

    topic: str
    payload: bytes
    at: datetime
    qos: int = 0
    retain: bool = False
    correlation_data: bytes | None = None
    content_type: str | None = None
    user: tuple[tuple[str, str], ...] = ()

    def property(self, name: str) -> str | None:
        """Return a user property, None where the message has none of that name."""
        return dict(self.user).get(name)


class Bus(Protocol):
    """What the commands need of a connection."""

    client_id: str

    def connect(self, resume: bool = False) -> bool:
        """Connect again and tell whether the broker still had the session; `resume` asks for it."""
        ...

    def subscribe(self, *filters: str) -> None:
        """Subscribe at QoS 1 to what is published from now on; retained messages of the past are not sent."""
        ...

    def retained(self, *filters: str) -> dict[str, Received]:
        """Return the retained messages on these filters by topic."""
        ...

    def publish(self, publication: Publication, response_topic: str | None = None, expiry_s: int | None = None) -> bool:
        """Publish and wait for the broker's acknowledgement; tell whether anybody has subscribed to it."""
        ...

    def try_publish(self, publication: Publication, response_topic: str | None = None, expiry_s: int | None = None) -> int:
        """Publish and return the reason code of the broker's acknowledgement."""
        ...

    def post(self, publication: Publication, qos: int) -> None:
        """Publish as it is, without a stamp of this connection, and go on: `settle` waits for the acknowledgements."""
        ...

    def settle(self) -> None:
        """Wait until everything posted is acknowledged."""
        ...

    def idle(self, duration_s: float) -> None:
        """Let time pass, and answer the broker meanwhile."""
        ...

    def receive(self, timeout_s: float) -> Received | None:
        """Return the next message, None if there is none in time."""
        ...


class LeavingBus(Bus, Protocol):
    """A connection that speaks once more when it is lost."""

    def last_will(self, publication: Publication, keep_alive_s: int) -> None:
        """Set what the broker publishes when this connection is lost, from the next `connect` on."""
        ...
