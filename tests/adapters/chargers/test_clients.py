from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from adapters.chargers.clients import UNPAIRED, Chargers, Clients, Widgets
from adapters.chargers.ocpp.numbers import TransactionNumbers
from adapters.chargers.ocpp.stations import Stations
from adapters.chargers.websocket import Incoming, Refusal
from broker.contract.charging.topics import ClientLink, Status
from broker.contract.components.topics import RejectedMessage
from broker.message import Publication
from tests.adapters.chargers.wire import SOC, soc

CHARGING = b'{"event":"chargingStatus","data":{"status":"charging"}}'
CHARGING_80 = b'{"event":"chargingStatus","data":{"status":"charging80"}}'


@dataclass(eq=False)
class FakeConnection:
    sent: list[bytes] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    address: str = "10.0.0.1:5"
    subprotocols: Sequence[str] | None = None
    subprotocol: str | None = None

    def send(self, text: bytes) -> None:
        self.sent.append(text)

    def drop(self, reason: str) -> None:
        self.dropped.append(reason)


def stations(published: list[Publication]) -> Stations:
    async def deliver(publication: Publication, _timeout_s: float) -> None:
        published.append(publication)

    numbers = TransactionNumbers(Path("/proc/numbers"), 0, datetime(2026, 1, 31, tzinfo=UTC))
    return Stations("adapter", published.append, deliver, numbers, lambda _: True)


def chargers(*known: str) -> tuple[Clients, list[Publication]]:
    published: list[Publication] = []
    clients = Chargers("adapter", "boot", published.append, stations(published))
    clients.know(known)
    return clients, published


def widgets(*known: str) -> tuple[Widgets, list[Publication]]:
    published: list[Publication] = []
    clients = Widgets("adapter", "boot", published.append)
    clients.know(known)
    return clients, published


@pytest.mark.parametrize(
    ("path", "client"),
    [
        ("/chargers/c1234", "c1234"),
        ("/chargers/c1234?", "c1234"),
        ("/chargers/c1234?token=/x/y&a=1", "c1234"),
        ("/chargers/%63%31234", "c1234"),
        ("/%63hargers/c1234", "c1234"),
        ("/chargers/L%C3%A4derle%20%E2%82%AC", "Läderle €"),
        ("/chargers/a%3Fb", "a?b"),
        ("/chargers/100%25", "100%"),
        ("/chargers/100%", "100%"),
        ("/chargers/%22'", "\"'"),
    ],
)
def test_known_ids_are_admitted(path: str, client: str) -> None:
    clients, _ = chargers("c1234", "Läderle €", "a?b", "100%", "\"'")
    assert clients.admit(path) == client


@pytest.mark.parametrize(
    "path",
    [
        *("/chargers/C1234", "/chargers/c123", "/chargers/c12345", "/chargers/c1234%20", "/chargers/c1234%00"),
        *(
            "/chargers/%FF%FE",
            "/chargers/%ED%A0%80",
            "/chargers/c1234;x",
            "/chargers/c1234#x",
            "/chargers/wABCD",
            "/chargers/%",
        ),
    ],
)
def test_unknown_ids_are_refused_with_their_name(path: str) -> None:
    clients, published = chargers("c1234")
    refused = clients.admit(path)
    assert isinstance(refused, Refusal)
    assert refused.status == 404
    assert "is not one of the chargers: add it to the file that SCAUP_CHARGER_PAIRS names" in refused.text
    assert refused.text.encode()
    assert published == []


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "*", "?", "//", "/chargers", "/chargers/", "/chargers//", "/chargers//c1234", "//chargers/c1234"),
        *("/widgets/c1234", "/Chargers/c1234", "chargers/c1234", "x/chargers/c1234", "http://h/chargers/c1234"),
        *(
            "/chargers/c1234/",
            "/chargers/c1234/?x",
            "/chargers/c1234/x",
            "/chargers/c1234//",
            "/chargers/c1234%2Fx",
            "/x/chargers/c1234",
            "/?/chargers/c1234",
        ),
    ],
)
def test_other_paths_are_refused(path: str) -> None:
    clients, _ = chargers("c1234", "x", "c1234/x")
    refused = clients.admit(path)
    assert isinstance(refused, Refusal)
    assert refused == Refusal(404, "the path on this port is /chargers/ID: is it the wrong port?")


def test_clients_get_503_before_the_pairs_are_known() -> None:
    for clients in (Chargers("adapter", "boot", lambda _: None, stations([])), Widgets("adapter", "boot", lambda _: None)):
        refused = clients.admit(f"/{clients.kind}/x")
        assert isinstance(refused, Refusal)
        assert refused.status == 503
        assert "`charging`" in refused.text
        wrong = clients.admit("/nothing/x")
        assert isinstance(wrong, Refusal)
        assert wrong.status == 404


def test_a_state_of_charge_is_published_verbatim() -> None:
    clients, published = chargers("c1234")
    payload = b' {"data":{"soc":7e1},"event":"StateOfCharge"}'
    clients.received("c1234", Incoming(payload, text=True))
    assert published == [Publication(topic="chargers/c1234/soc", payload=payload, qos=1, plant=True)]


@pytest.mark.parametrize(
    ("message", "shown", "encoding"),
    [
        (Incoming(soc(101), text=True), soc(101).decode(), "utf-8"),
        (Incoming(SOC, text=False), SOC.decode(), "utf-8"),
        (Incoming(b"", text=True), "", "utf-8"),
        (Incoming(b"\xff", text=True), "/w==", "base64"),
    ],
)
def test_unusable_messages_are_published_as_rejected(message: Incoming, shown: str, encoding: str) -> None:
    clients, published = chargers("c1234")
    clients.received("c1234", message)
    (rejected,) = [msgspec.json.decode(each.payload, type=RejectedMessage) for each in published]
    assert (rejected.topic, rejected.payload, rejected.encoding) == ("chargers/c1234/soc", shown, encoding)
    assert published[0].topic == "rejected/adapter"


def test_messages_of_widgets_are_rejected() -> None:
    clients, published = widgets("wABCD")
    clients.received("wABCD", Incoming(SOC, text=True))
    rejected = msgspec.json.decode(published[0].payload, type=RejectedMessage)
    assert (rejected.topic, rejected.reason) == ("widgets/wABCD", "widgets only receive: nothing is accepted from them")


@pytest.mark.parametrize(("make", "kind", "client"), [(chargers, "chargers", "c1234"), (widgets, "widgets", "wABCD")])
def test_links_are_published_and_retained(
    make: Callable[..., tuple[Clients, list[Publication]]], kind: str, client: str
) -> None:
    clients, published = make(client)
    connection = FakeConnection()
    clients.opened(client, connection)
    clients.closed(client, connection, "lost")
    links = [msgspec.json.decode(each.payload, type=ClientLink) for each in published]
    assert [(each.connected, each.reason) for each in links] == [(True, None), (False, "lost")]
    assert {each.topic for each in published} == {f"{kind}/{client}/link"}
    assert all(each.retain and each.qos == 1 for each in published)
    assert {(each.adapter, each.connection, each.address) for each in links} == {("adapter", "boot-1", "10.0.0.1:5")}


def test_clients_removed_from_the_pairs_are_dropped() -> None:
    clients, published = chargers("c1", "c2")
    first, second = FakeConnection(), FakeConnection()
    clients.opened("c1", first)
    clients.opened("c2", second)
    clients.know({"c2", "c3"})
    assert (first.dropped, second.dropped) == ([UNPAIRED], [])
    assert msgspec.json.decode(published[-1].payload, type=ClientLink).reason == UNPAIRED
    assert isinstance(clients.admit("/chargers/c1"), Refusal)
    assert clients.admit("/chargers/c3") == "c3"


def test_a_widget_gets_its_status_when_it_connects() -> None:
    clients, _ = widgets("w")
    clients.on_status("w", Status.CHARGING)
    connection = FakeConnection()
    clients.opened("w", connection)
    assert connection.sent == [CHARGING]


def test_a_widget_gets_every_change_once() -> None:
    clients, _ = widgets("w", "v")
    connection, other = FakeConnection(), FakeConnection()
    clients.opened("w", connection)
    clients.opened("v", other)
    assert connection.sent == []
    for status in (Status.CHARGING, Status.CHARGING, Status.CHARGING_80, Status.CHARGING, Status.CHARGED, Status.UNAVAILABLE):
        clients.on_status("w", status)
    published = [msgspec.json.decode(each)["data"]["status"] for each in connection.sent]
    assert published == ["charging", "charging80", "charging", "charged", "unavailable"]
    assert other.sent == []


def test_a_reconnected_widget_gets_its_status_again() -> None:
    clients, _ = widgets("w")
    clients.on_status("w", Status.CHARGING)
    first, second, third = FakeConnection(), FakeConnection(), FakeConnection()
    clients.opened("w", first)
    clients.closed("w", first, "lost")
    clients.opened("w", second)
    clients.opened("w", third)  # the second is still there: it takes over
    clients.closed("w", second, "replaced")
    clients.on_status("w", Status.CHARGING)
    clients.on_status("w", Status.CHARGING_80)
    assert (first.sent, second.sent, third.sent) == ([CHARGING], [CHARGING], [CHARGING, CHARGING_80])


def test_a_cleared_status_is_not_sent() -> None:
    clients, _ = widgets("w")
    clients.on_status("w", Status.CHARGING)
    clients.on_status("w", None)
    clients.on_status("w", None)
    connection = FakeConnection()
    clients.opened("w", connection)
    assert connection.sent == []
    clients.on_status("w", Status.CHARGING)
    assert connection.sent == [CHARGING]


def test_a_status_without_a_widget_is_sent_on_connection() -> None:
    clients, _ = widgets("w")
    first, second = FakeConnection(), FakeConnection()
    clients.opened("w", first)
    clients.on_status("w", Status.CHARGING)
    clients.closed("w", first, "lost")
    clients.on_status("w", Status.CHARGING_80)
    clients.opened("w", second)
    assert (first.sent, second.sent) == ([CHARGING], [CHARGING_80])
