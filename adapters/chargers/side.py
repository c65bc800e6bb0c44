"""The two sides of the adapter, chargers and widgets: who is let in, what is made of what they send, what they are told."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Protocol
from urllib.parse import unquote

from adapters.chargers.frames import check_soc
from adapters.chargers.links import Links
from adapters.chargers.session import Incoming, Refusal
from broker.contract.charging.topics import CHARGER_LINK, SOC, WIDGET_LINK, Link, Status, StatusData, StatusEvent
from broker.errors import Rejected
from broker.message import Publication, encode
from broker.runtime.rejection import rejection
from broker.stream import Stream

UNPAIRED = "taken out of the pairs"
_FRAMES = {each: encode(StatusEvent(data=StatusData(status=each))) for each in Status}


class Connection(Protocol):
    """A websocket that is open."""

    @property
    def address(self) -> str:
        """Where it comes from."""
        ...

    def send(self, text: bytes) -> None:
        """Send a text frame."""
        ...

    def drop(self, reason: str) -> None:
        """Close it."""
        ...


class Side(ABC):
    """One kind of clients, on a port of their own.

    Args:
        kind: `chargers` or `widgets`, the first part of their path.
        stream: of their links.
        adapter: name of the component.
        boot: a new word at each start of it.
        publish: publishes on the bus.
    """

    def __init__(
        self, kind: str, stream: Stream[Link], adapter: str, boot: str, publish: Callable[[Publication], None]
    ) -> None:
        self.kind = kind
        self._adapter, self._publish = adapter, publish
        self._known: Collection[str] | None = None
        self.links: Links[Connection] = Links(
            adapter, boot, lambda client, link: publish(stream.publication(link, id=client)), lambda each, why: each.drop(why)
        )

    def know(self, clients: Collection[str]) -> None:
        """Take the ids that there are; connections of others are closed."""
        self._known = clients
        self.links.drop_unless(clients.__contains__, UNPAIRED)

    def admit(self, path: str) -> str | Refusal:
        """Return the id that a path names, or why it is not let in."""
        parts = unquote(path.partition("?")[0]).split("/")
        client = parts[-1]
        if parts != ["", self.kind, client] or not client:
            return Refusal(HTTPStatus.NOT_FOUND, f"the path on this port is /{self.kind}/ID: is it the wrong port?")
        if self._known is None:
            return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the pairs are not known yet: is the component `charging` running?")
        if client not in self._known:
            text = f"{client!r} is none of the {self.kind}: add it to the file that SCAUP_CHARGER_PAIRS names"
            return Refusal(HTTPStatus.NOT_FOUND, text)
        return client

    def opened(self, client: str, connection: Connection) -> None:
        """Take a connection whose handshake is over."""
        self.links.connected(client, connection, connection.address)

    @abstractmethod
    def received(self, client: str, message: Incoming) -> None:
        """Take a message of a client."""

    def closed(self, client: str, connection: Connection, reason: str) -> None:
        """Forget a connection."""
        self.links.lost(client, connection, reason)

    def reject(self, topic: str, payload: bytes, reason: str) -> None:
        """Publish what cannot be used."""
        self._publish(rejection(self._adapter, topic, payload, reason))


class ChargerSide(Side):
    """Chargers: their states of charge are published as they came."""

    def __init__(self, adapter: str, boot: str, publish: Callable[[Publication], None]) -> None:
        super().__init__("chargers", CHARGER_LINK, adapter, boot, publish)

    def received(self, client: str, message: Incoming) -> None:
        """Publish a state of charge, or reject what is none."""
        topic = SOC.template.topic(id=client)
        try:
            check_soc(message)
        except Rejected as error:
            self.reject(topic, message.payload, str(error))
            return
        self._publish(Publication(topic=topic, payload=message.payload, qos=SOC.qos, plant=SOC.plant))


class WidgetSide(Side):
    """Widgets: each is told its status when it connects and whenever that changes."""

    def __init__(self, adapter: str, boot: str, publish: Callable[[Publication], None]) -> None:
        super().__init__("widgets", WIDGET_LINK, adapter, boot, publish)
        self._status: dict[str, Status] = {}
        self._shown: dict[str, Status] = {}
        """What the present connection of a widget was told last."""

    def status(self, widget: str, status: Status | None) -> None:
        """Take the status of a widget, None where there is none any more."""
        if status is None:
            self._status.pop(widget, None)
            return
        self._status[widget] = status
        self._show(widget)

    def opened(self, client: str, connection: Connection) -> None:
        """Take a connection, and tell it what is known."""
        super().opened(client, connection)
        self._shown.pop(client, None)
        self._show(client)

    def received(self, client: str, message: Incoming) -> None:
        """Reject it: widgets only listen."""
        self.reject(f"widgets/{client}", message.payload, "a widget has nothing to say")

    def closed(self, client: str, connection: Connection, reason: str) -> None:
        """Forget a connection."""
        super().closed(client, connection, reason)
        if client not in self.links:
            self._shown.pop(client, None)

    def _show(self, widget: str) -> None:
        connection, status = self.links.get(widget), self._status.get(widget)
        if connection is not None and status is not None and self._shown.get(widget) is not status:
            self._shown[widget] = status
            connection.send(_FRAMES[status])
