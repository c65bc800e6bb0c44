import pytest

from adapters.torque.component import TorqueAdapter
from adapters.torque.configuration import TorqueDriver
from broker.errors import Rejected
from broker.message import Message
from broker.runtime.component import Service
from tests.adapters.torque.fakes import RESET


@pytest.fixture
def adapter() -> TorqueAdapter:
    return TorqueAdapter([TorqueDriver("left", "ws://127.0.0.1:1"), TorqueDriver("right", "ws://127.0.0.1:1")])


def test_it_is_a_service(adapter: TorqueAdapter) -> None:
    assert isinstance(adapter, Service)
    assert adapter.on_tick(0.0) == []


def test_a_command_for_an_unknown_driver_is_rejected(adapter: TorqueAdapter) -> None:
    with pytest.raises(Rejected, match=r"'torque/middle/command' names no driver of this adapter: it has left, right"):
        adapter.on_message(Message(topic="torque/middle/command", payload=RESET), 0.0)


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"\xff", b"null", b"{}", b'{"type":"jump"}', b'{"type":"setTorque","data":{"direction":"up"}}', b"[" * 2000],
)
def test_an_invalid_command_is_rejected(adapter: TorqueAdapter, payload: bytes) -> None:
    with pytest.raises(Rejected):
        adapter.on_message(Message(topic="torque/left/command", payload=payload), 0.0)


def test_a_retained_command_is_rejected(adapter: TorqueAdapter) -> None:
    with pytest.raises(Rejected, match="may be old"):
        adapter.on_message(Message(topic="torque/left/command", payload=RESET, retain=True), 0.0)


def test_a_command_before_the_start_is_dropped(adapter: TorqueAdapter) -> None:
    assert adapter.on_message(Message(topic="torque/left/command", payload=RESET), 0.0) == []
