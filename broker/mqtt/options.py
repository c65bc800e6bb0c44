"""Options of a connection: the broker's address, the client's session and its subscriptions."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line connects through paho, and gmqtt takes long to import
    import gmqtt


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The broker's address and the login to use. `ca` is a PEM file: with it, the connection is TLS."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    ca: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """One topic filter with its MQTT 5 subscription options (section 3.8.3.1)."""

    filter: str
    qos: int = 1
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The client's side of a connection. `session_expiry_s` above 0 asks for a session that outlives the connection."""

    client_id: str
    """The part of the client id that logs show."""
    secret: str = field(default="", repr=False)
    """The part that other clients must not guess: a client that connects with the same id gets the session."""
    subscriptions: tuple[Subscription, ...] = ()
    session_expiry_s: int = 0
    receive_maximum: int = 1_000
    will: "gmqtt.Message | None" = None
    acknowledge: bool = True
    """Acknowledge deliveries when `on_deliveries` returns; otherwise the listener calls `Connection.acknowledge` later."""
    acknowledge_in_order: bool = False
    """Acknowledge nothing while publications wait to be sent: they may follow from it, and a kill must not lose them."""
    max_queued: int = 10_000
    """Publications that may wait for the broker; beyond that, or beyond `LARGEST_BACKLOG_BYTES`, the oldest are dropped."""

    @property
    def full_client_id(self) -> str:
        """The client id as the broker gets it."""
        return f"{self.client_id}-{self.secret}" if self.secret else self.client_id
