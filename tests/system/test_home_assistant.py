"""The Home Assistant adapter on a real broker: it may announce, and what it announced goes with the thing."""

import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from adapters.client.declaration import OPERATOR
from adapters.client.paho_bus import connected
from broker.contract.components.topics import FORGET, Forget
from broker.contract.heating.topics import STATE, HeatingState
from broker.contract.home_assistant.topics import ENTITY
from tests.real_broker import RealBroker

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_a_room_is_announced_and_withdrawn(own_broker: RealBroker) -> None:
    settings = own_broker.settings
    environment = {**own_broker.environment, "SCAUP_HOME_ASSISTANT": "yes"}
    with connected(settings.broker_address("heating")) as heating, connected(settings.broker_address(OPERATOR.name)) as bus:
        heating.publish(STATE.publication(HeatingState(level=0, setpoint=20.0, mode="heating"), room="office"))
        process = subprocess.Popen([sys.executable, "-m", "adapters.home_assistant"], env=environment)
        try:
            until(lambda: len(bus.retained(ENTITY.template.filter)) == 4)
            bus.publish(FORGET.publication(Forget("room", "office")))
            until(lambda: not bus.retained(ENTITY.template.filter))
        finally:
            process.terminate()
            process.wait(20)
