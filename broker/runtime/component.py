"""Interfaces between a component and the runtime."""

from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

from broker.message import Message, Publication
from broker.mqtt.options import Subscription


class Component(Protocol):
    """A plain object: messages and ticks in, publications out. It never awaits, opens a socket or reads a clock."""

    def on_message(self, message: Message, now_s: float) -> list[Publication]:
        """Take one message of a subscribed stream; `now_s` is plant time in seconds, growing from an arbitrary start.

        Raises:
            Rejected: the message cannot be used; the runtime publishes it to `rejected/{component}` with the reason.
        """
        ...

    def on_tick(self, now_s: float) -> list[Publication]:
        """Let plant time pass; called every `tick_s` of the declaration."""
        ...


class Bus(Protocol):
    """The runtime as a service sees it: a way to publish, and plant time."""

    def publish(self, publication: Publication) -> None:
        """Queue a publication; it is sent in order, and resent after a reconnect until the broker acknowledges it.

        While the broker is unreachable, the oldest beyond `max_queued` of the declaration are dropped, which is logged.

        Raises:
            InvalidTopic: the topic may not be published to.
        """
        ...

    async def deliver(self, publication: Publication, timeout_s: float) -> None:
        """Publish now, at QoS 1, and wait until the broker has acknowledged it.

        Raises:
            BrokerUnavailable: there is no connection, or the broker refused it, or has not answered within `timeout_s` (wall).
            InvalidTopic: the topic may not be published to.
        """
        ...

    async def ping(self, timeout_s: float) -> None:
        """Check that the broker answers.

        Raises:
            BrokerUnavailable: there is no connection, or it has not answered within `timeout_s` of wall time.
        """
        ...

    def now_s(self) -> float:
        """Return plant time in seconds, as components see it."""
        ...


@runtime_checkable
class Service(Component, Protocol):
    """A component with I/O of its own beside the bus: sockets, a database."""

    async def serve(self, bus: Bus, working: Callable[[bool], None]) -> None:
        """Run until cancelled, then finish cleanly. Call `working` with True when the work starts, with False when it stops."""
        ...


class SessionBus(Bus, Protocol):
    """The bus of a component that changes what it subscribes to, and numbers what it publishes itself."""

    async def subscribe(self, wanted: Iterable[Subscription], removed: Iterable[str] = ()) -> None:
        """Subscribe to further filters, and end the subscriptions to some; without a connection, with the next one.

        Raises:
            BrokerUnavailable: the broker refused it, or the connection was lost; the next one has it.
        """
        ...

    @property
    def boot(self) -> str:
        """This start, as in the stamps of its publications."""
        ...

    @property
    def seq(self) -> int:
        """The number of the latest publication; the next one has one more."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """A component with a session that has to find out something before it takes what the broker has queued for it."""

    async def prepare(self, bus: SessionBus) -> None:
        """Called after each connect; what is not retained waits, unacknowledged, until it returns."""
        ...
