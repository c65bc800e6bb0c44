"""The connection's memory of packet identifiers; everything else of it is tested with a real broker."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.client.errors import Refused
from adapters.client.paho_bus import PahoBus
from broker.message import Publication
from broker.mqtt.options import Address
from broker.mqtt.packets import Delivery, MalformedPacket, pack_user_properties, parse_properties


@pytest.fixture
def bus() -> PahoBus:
    return PahoBus(Address(host="127.0.0.1", port=1))


def connack(bus: PahoBus, session_present: bool) -> None:
    bus._on_connect(None, None, SimpleNamespace(session_present=session_present), SimpleNamespace(value=0), None)


def arrives(bus: PahoBus, packet_id: int, payload: bytes, *, qos: int = 1, dup: bool = False) -> None:
    bus._take(Delivery("t", payload, qos, False, dup, packet_id, b""))


def received(bus: PahoBus) -> list[bytes]:
    return [each.payload for each in bus._inbox]


def test_redelivery_in_a_resumed_session_is_taken_once(bus: PahoBus) -> None:
    connack(bus, session_present=False)
    arrives(bus, 5, b"a")
    connack(bus, session_present=True)
    arrives(bus, 5, b"a", dup=True)
    arrives(bus, 6, b"b", dup=True)
    assert received(bus) == [b"a", b"b"]


def test_new_session_forgets_packet_identifiers(bus: PahoBus) -> None:
    connack(bus, session_present=False)
    arrives(bus, 5, b"a")
    connack(bus, session_present=False)
    arrives(bus, 5, b"b", dup=True)
    assert received(bus) == [b"a", b"b"]


def test_qos_0_does_not_displace_known_packet_identifiers(bus: PahoBus) -> None:
    connack(bus, session_present=False)
    arrives(bus, 5, b"a")
    for _ in range(2_000):
        arrives(bus, 0, b"-", qos=0)
    connack(bus, session_present=True)
    arrives(bus, 5, b"a", dup=True)
    assert received(bus).count(b"a") == 1


class Line:
    """Stands for paho: notes what is sent; `loop` acknowledges the oldest with `reason`."""

    def __init__(self, bus: PahoBus, reason: int = 0) -> None:
        self.bus, self.reason = bus, reason
        self.sent: list[tuple[bytes, int]] = []
        self.unacknowledged: list[int] = []
        self.most_unacknowledged = 0
        self.refused_at_pubrec: dict[int, int] = {}

    def publish(self, topic: str, payload: bytes, qos: int, *_: object) -> SimpleNamespace:
        self.sent.append((payload, qos))
        self.unacknowledged.append(len(self.sent))
        self.most_unacknowledged = max(self.most_unacknowledged, len(self.unacknowledged))
        return SimpleNamespace(mid=len(self.sent), rc=0)

    def loop(self, _timeout_s: float) -> int:
        self.bus._published[self.unacknowledged.pop(0)] = self.reason
        return 0


def posting(bus: PahoBus, reason: int = 0) -> Line:
    line = Line(bus, reason)
    bus._client = line  # type: ignore[assignment]
    return line


def test_post_does_not_wait_for_each_acknowledgement(bus: PahoBus) -> None:
    line = posting(bus)
    for number in range(2_000):
        bus.post(Publication(topic="t", payload=b"%d" % number), 1)
    assert line.most_unacknowledged == 500
    bus.settle()
    assert (len(line.sent), line.unacknowledged) == (2_000, [])


def test_post_respects_the_receive_maximum(bus: PahoBus) -> None:
    bus._on_connect(
        None, None, SimpleNamespace(session_present=False), SimpleNamespace(value=0), SimpleNamespace(ReceiveMaximum=20)
    )
    line = posting(bus)
    for _ in range(100):
        bus.post(Publication(topic="t", payload=b""), 1)
    assert line.most_unacknowledged == 20


def test_post_limits_unacknowledged_bytes(bus: PahoBus) -> None:
    line = posting(bus)
    for _ in range(100):
        bus.post(Publication(topic="t", payload=bytes(1024 * 1024)), 1)
    assert line.most_unacknowledged <= 17


def test_message_after_qos_2_waits_for_its_handshake(bus: PahoBus) -> None:
    line = posting(bus)
    for qos in (1, 2, 2):
        bus.post(Publication(topic="t", payload=b""), qos)
    assert len(line.unacknowledged) == 3
    bus.post(Publication(topic="t", payload=b""), 0)
    assert line.unacknowledged == [4]


def test_refused_post_names_its_topic(bus: PahoBus) -> None:
    posting(bus, reason=0x87)
    bus.post(Publication(topic="some/topic", payload=b""), 1)
    with pytest.raises(Refused, match=r"some/topic.*0x87"):
        bus.settle()


@given(st.lists(st.tuples(st.text(), st.text())))
def test_packed_user_properties_can_be_parsed(user: list[tuple[str, str]]) -> None:
    packed = pack_user_properties(tuple(user))
    length = sum(5 + len(name.encode()) + len(value.encode()) for name, value in user)
    assert parse_properties(packed[len(packed) - length :]).user == tuple(user)


def test_property_too_long_for_a_packet_is_refused() -> None:
    assert len(pack_user_properties((("a", "x" * 65_535),))) == 3 + 5 + 1 + 65_535
    with pytest.raises(MalformedPacket):
        pack_user_properties((("a", "x" * 65_536),))
