import pytest

from adapters.energy_api.component import EnergyApi
from adapters.energy_api.declaration import DECLARATION, PORT, RECORDED_TOPIC, STORED_TOPIC
from adapters.listening import Listening
from broker.contract.energy.topics import RAW
from broker.contract.storage.topics import CANCEL, QUERY
from broker.message import Message
from broker.runtime.component import Service


def test_component_is_a_service_that_listens() -> None:
    api = EnergyApi(Listening(("127.0.0.1",), 8000, PORT.name))
    assert isinstance(api, Service)
    assert api.on_tick(0.0) == []
    assert DECLARATION.listens == DECLARATION.variables == (PORT,)
    assert (PORT.name, PORT.default) == ("SCAUP_ENERGY_API_PORT", "8000")
    assert DECLARATION.publishes == (RAW, QUERY, CANCEL)
    assert DECLARATION.subscribes == ()
    assert DECLARATION.subscribes_also == ("energy/answer/energy-api", "storage/answer/energy-api")


@pytest.mark.parametrize("topic", [STORED_TOPIC, RECORDED_TOPIC])
@pytest.mark.parametrize("payload", [b"", b"\xff", b"[", b"{}", b"[]"])
def test_late_replies_are_ignored(topic: str, payload: bytes) -> None:
    api = EnergyApi(Listening(("127.0.0.1",), 8000, PORT.name))
    for correlation in (None, b"", b"late"):
        assert api.on_message(Message(topic=topic, payload=payload, correlation_data=correlation), 0.0) == []
