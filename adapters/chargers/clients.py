"""The two kinds of clients, chargers and widgets: who is admitted, which payloads are accepted, what they are sent. Pure."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from http import HTTPStatus
from typing import Protocol
from urllib.parse import unquote

from adapters.chargers.ocpp.dialect import SUBPROTOCOLS
from adapters.chargers.ocpp.stations import Stations, is_ocpp
from adapters.chargers.takeover import Connections
from adapters.chargers.websocket import Incoming, Refusal
from broker.contract.charging.topics import (
    CHARGER_LINK,
    SOC,
    WIDGET_LINK,
    ClientLink,
    SocEvent,
    Status,
    status_event,
)
from broker.errors import Rejected
from broker.message import Publication, decode, encode
from broker.runtime.rejection import rejection
from broker.stream import Stream

LARGEST_SOC_BYTES = 64 * 1024
UNPAIRED = "removed from the pairs"
_FRAMES = {each: encode(status_event(each)) for each in Status}


class OpenConnection(Protocol):
    """An open websocket."""

    @property
    def address(self) -> str:
        """The client's host and port."""
        ...

    @property
    def subprotocols(self) -> Sequence[str] | None:
        """Those of which the client must speak one; None where it need not."""
        ...

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on, None where there is none."""
        ...

    def send(self, text: bytes) -> None:
        """Send a text frame."""
        ...

    def drop(self, reason: str) -> None:
        """Close it."""
        ...


class Clients(ABC):
    """Clients of one kind, on a port of their own.

    Args:
        kind: `chargers` or `widgets`, the first part of their path.
        stream: of their links.
        adapter: name of the component.
        boot: a new id at each start of it.
        publish: publishes on the bus.
    """

    def __init__(
        self, kind: str, stream: Stream[ClientLink], adapter: str, boot: str, publish: Callable[[Publication], None]
    ) -> None:
        self.kind = kind
        self._adapter, self._publish = adapter, publish
        self._known: Collection[str] | None = None
        self.connections: Connections[OpenConnection] = Connections(
            adapter, boot, lambda client, link: publish(stream.publication(link, id=client)), lambda each, why: each.drop(why)
        )

    def know(self, clients: Collection[str]) -> None:
        """Take the ids that may connect; connections of others are closed."""
        self._known = clients
        self.connections.drop_unless(clients.__contains__, UNPAIRED)

    def admit(self, path: str) -> str | Refusal:
        """Return the id that a path names, or why it is refused."""
        parts = unquote(path.partition("?")[0]).split("/")
        client = parts[-1]
        if parts != ["", self.kind, client] or not client:
            return Refusal(HTTPStatus.NOT_FOUND, f"the path on this port is /{self.kind}/ID: is it the wrong port?")
        if self._known is None:
            return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the pairs are not known yet: is the component `charging` running?")
        if client not in self._known:
            text = f"{client!r} is not one of the {self.kind}: add it to the file that SCAUP_CHARGER_PAIRS names"
            return Refusal(HTTPStatus.NOT_FOUND, text)
        return client

    def subprotocols(self, _path: str) -> Sequence[str] | None:
        """Return the subprotocols of which a client on a path must speak one; None where it need not."""
        return None

    def opened(self, client: str, connection: OpenConnection) -> None:
        """Take a connection whose handshake is complete."""
        self.connections.add(client, connection, connection.address)

    @abstractmethod
    def received(self, client: str, message: Incoming) -> None:
        """Take a message of a client."""

    def closed(self, client: str, connection: OpenConnection, reason: str) -> None:
        """Remove a connection that has ended."""
        self.connections.remove(client, connection, reason)

    def reject(self, topic: str, payload: bytes, reason: str) -> None:
        """Publish a payload that cannot be used on `rejected/…`."""
        self._publish(rejection(self._adapter, topic, payload, reason))


class Chargers(Clients):
    """Chargers: states of charge are published verbatim; those that speak OCPP are the affair of `stations`."""

    def __init__(self, adapter: str, boot: str, publish: Callable[[Publication], None], stations: Stations) -> None:
        super().__init__("chargers", CHARGER_LINK, adapter, boot, publish)
        self._stations = stations

    def know(self, clients: Collection[str]) -> None:
        """Take the ids that may connect; OCPP chargers need not be among them."""
        self._known = clients
        self.connections.drop_unless(lambda each: each in clients or each in self._stations, UNPAIRED)

    def admit(self, path: str) -> str | Refusal:
        """Return the id that a path names, or why it is refused."""
        return self._stations.admit(path) or super().admit(path)

    def subprotocols(self, path: str) -> Sequence[str] | None:
        """Return the versions of OCPP for the path of an OCPP charger."""
        return SUBPROTOCOLS if is_ocpp(path) else None

    def opened(self, client: str, connection: OpenConnection) -> None:
        """Take a connection. One without a common version of OCPP is closed at once (OCPP-J 1.6, 3.1.2)."""
        if connection.subprotocols is None:
            self._stations.leave(client)
        elif connection.subprotocol is None:
            connection.drop(f"no common subprotocol: {' and '.join(SUBPROTOCOLS)} are spoken here")
            return
        else:
            self._stations.opened(client, connection, connection.subprotocol)
        super().opened(client, connection)

    def closed(self, client: str, connection: OpenConnection, reason: str) -> None:
        """Remove a connection that has ended."""
        super().closed(client, connection, reason)
        self._stations.closed(client, connection)

    def received(self, client: str, message: Incoming) -> None:
        """Publish a state of charge; reject anything else. Of an OCPP charger, take its frame."""
        if client in self._stations:
            self._stations.received(client, message)
            return
        topic = SOC.template.topic(id=client)
        try:
            check_soc(message)
        except Rejected as error:
            self.reject(topic, message.payload, str(error))
            return
        self._publish(Publication(topic=topic, payload=message.payload, qos=SOC.qos, plant=SOC.plant))


def check_soc(message: Incoming) -> None:
    """Check a charger's message: text, JSON, the documented event with a state of charge from 0 to 100.

    Raises:
        Rejected: it is anything else; the text names the reason.
    """
    if not message.text:
        raise Rejected("a binary frame: a charger sends text")
    if len(message.payload) > LARGEST_SOC_BYTES:
        raise Rejected(f"a frame of {len(message.payload)} bytes: {LARGEST_SOC_BYTES} are accepted")
    decode(message.payload, SocEvent)


class Widgets(Clients):
    """Widgets: each is sent its status when it connects and whenever the status changes."""

    def __init__(self, adapter: str, boot: str, publish: Callable[[Publication], None]) -> None:
        super().__init__("widgets", WIDGET_LINK, adapter, boot, publish)
        self._status: dict[str, Status] = {}
        self._sent: dict[str, Status] = {}
        """The last status sent on a widget's present connection."""

    def on_status(self, widget: str, status: Status | None) -> None:
        """Take the status of a widget, None where there is none any more."""
        if status is None:
            self._status.pop(widget, None)
            return
        self._status[widget] = status
        self._send(widget)

    def opened(self, client: str, connection: OpenConnection) -> None:
        """Take a connection, and send it the status if that is known."""
        super().opened(client, connection)
        self._sent.pop(client, None)
        self._send(client)

    def received(self, client: str, message: Incoming) -> None:
        """Reject the message: widgets only receive."""
        self.reject(f"widgets/{client}", message.payload, "widgets only receive: nothing is accepted from them")

    def closed(self, client: str, connection: OpenConnection, reason: str) -> None:
        """Remove a connection that has ended."""
        super().closed(client, connection, reason)
        if client not in self.connections:
            self._sent.pop(client, None)

    def _send(self, widget: str) -> None:
        connection, status = self.connections.get(widget), self._status.get(widget)
        if connection is not None and status is not None and self._sent.get(widget) is not status:
            self._sent[widget] = status
            connection.send(_FRAMES[status])
