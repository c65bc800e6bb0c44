"""The connection's memory of packet identifiers; everything else of it is tested with a real broker."""

from types import SimpleNamespace

import paho.mqtt.client as paho
import pytest

from adapters.cli.asking.bus import PahoBus
from broker.address import Address


@pytest.fixture
def bus() -> PahoBus:
    return PahoBus(Address(host="127.0.0.1", port=1))


def connack(bus: PahoBus, session_present: bool) -> None:
    bus._on_connect(None, None, SimpleNamespace(session_present=session_present), SimpleNamespace(value=0), None)


def arrives(bus: PahoBus, packet_id: int, payload: bytes, *, qos: int = 1, dup: bool = False) -> None:
    message = paho.MQTTMessage(packet_id, b"t")
    message.payload, message.qos, message.dup = payload, qos, dup
    bus._on_message(None, None, message)


def received(bus: PahoBus) -> list[bytes]:
    return [each.payload for each in bus._inbox]


def test_what_comes_again_in_a_resumed_session_is_taken_once(bus: PahoBus) -> None:
    connack(bus, session_present=False)
    arrives(bus, 5, b"a")
    connack(bus, session_present=True)
    arrives(bus, 5, b"a", dup=True)
    arrives(bus, 6, b"b", dup=True)
    assert received(bus) == [b"a", b"b"]


def test_a_new_session_has_new_packet_identifiers(bus: PahoBus) -> None:
    connack(bus, session_present=False)
    arrives(bus, 5, b"a")
    connack(bus, session_present=False)
    arrives(bus, 5, b"b", dup=True)
    assert received(bus) == [b"a", b"b"]


def test_messages_without_a_packet_identifier_push_nothing_out_of_the_memory(bus: PahoBus) -> None:
    connack(bus, session_present=False)
    arrives(bus, 5, b"a")
    for _ in range(2_000):
        arrives(bus, 0, b"-", qos=0)
    connack(bus, session_present=True)
    arrives(bus, 5, b"a", dup=True)
    assert received(bus).count(b"a") == 1
