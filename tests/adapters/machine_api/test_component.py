import pytest

from adapters.listening import Listening
from adapters.machine_api.component import MachineApi
from adapters.machine_api.declaration import DECLARATION, PORT
from adapters.machine_api.document import any_case
from adapters.machine_api.parameters import read_status
from broker.contract.components.topics import FORGET
from broker.contract.machines.topics import AVERAGE, READING, STATUS, Status
from broker.errors import Rejected
from broker.message import Message
from broker.runtime.component import Service
from tests.adapters.machine_api.world import average, raw_reading, reading


@pytest.fixture
def api() -> MachineApi:
    return MachineApi(Listening(("127.0.0.1",), 5000, PORT.name))


def test_component_is_a_service_that_listens(api: MachineApi) -> None:
    assert isinstance(api, Service)
    assert api.on_tick(0.0) == []
    assert DECLARATION.listens == DECLARATION.variables == (PORT,)
    assert (PORT.name, PORT.default) == ("SCAUP_MACHINE_API_PORT", "5000")
    assert {*DECLARATION.subscribes, *DECLARATION.publishes} == {READING, AVERAGE, STATUS, FORGET}


def test_messages_are_not_answered_on_the_bus(api: MachineApi) -> None:
    assert api.on_message(reading(), 0.0) == []
    assert api.on_message(average(), 0.0) == []


@pytest.mark.parametrize("message", [raw_reading(b"[]"), average(b"[]")])
def test_unusable_message_is_rejected(api: MachineApi, message: Message) -> None:
    with pytest.raises(Rejected):
        api.on_message(message, 0.0)


@pytest.mark.parametrize("status", Status)
def test_documented_pattern_matches_accepted_statuses(status: Status) -> None:
    import re

    pattern = any_case([each.value for each in Status])
    for spelled in (status.value, status.value.lower(), status.value.title()):
        assert re.search(pattern, spelled)
        assert read_status(b'{"status":"%s"}' % spelled.encode()) is status
    assert not re.search(pattern, f"{status.value} ")


def test_a_forgotten_machine_is_unknown(api: MachineApi) -> None:
    api.on_message(reading(), 0.0)
    assert api._machines.answer(1) is not None
    api.on_message(Message(topic="components/forget", payload=b'{"kind":"machine","name":"1"}'), 0.0)
    assert api._machines.answer(1) is None
